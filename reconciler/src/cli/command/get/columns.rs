//! The columns of the tables.

use banger_core::api::status::{ConditionStatus, ConditionType, Object, ObjectSpec};
use banger_core::api::{Kind, Quantity};
use jiff::Timestamp;

use crate::cli::age::age;
use crate::cli::settle::{condition, stands};

/// A column.
pub(super) struct Column {
    /// Its heading.
    pub(super) heading: &'static str,
    /// Its cell for an object, now.
    pub(super) cell: fn(&Object, Timestamp) -> String,
}

const NONE: &str = "<none>";

/// The columns of a kind's table.
pub(super) fn of(kind: Kind, wide: bool) -> Vec<Column> {
    let column = |heading, cell| Column { heading, cell };
    let mut columns = vec![
        column("NAME", |object, _| object.metadata.name.to_string()),
        column("STATUS", |object, _| status(object)),
    ];
    match kind {
        Kind::VirtualMachine => columns.extend([
            column("IMAGE", |object, _| {
                vm(object, |spec| Some(spec.image.to_string()))
            }),
            column("VCPUS", |object, _| {
                vm(object, |spec| spec.vcpus.map(|vcpus| vcpus.to_string()))
            }),
            column("MEMORY", |object, _| {
                vm(object, |spec| {
                    spec.memory.map(|memory: Quantity| memory.to_string())
                })
            }),
            column("IP", |object, _| {
                runtime(object, |runtime| runtime.guest_ip.to_string())
            }),
        ]),
        Kind::Image => columns.extend([
            column("SOURCE", |object, _| image_source(object)),
            column("DIGEST", |object, _| digest(object)),
        ]),
    }
    columns.push(column("AGE", |object, now| {
        age(object.metadata.creation_timestamp, now)
    }));
    if wide {
        if kind == Kind::VirtualMachine {
            columns.extend([
                column("IP6", |object, _| {
                    runtime(object, |runtime| match runtime.guest_ip6 {
                        Some(address) => address.to_string(),
                        None => NONE.to_owned(),
                    })
                }),
                column("RESTARTS", |object, _| {
                    runtime(object, |runtime| runtime.restarts.to_string())
                }),
                column("DNS", |object, _| {
                    runtime(object, |runtime| runtime.dns_name.clone())
                }),
                column("PID", |object, _| {
                    handle(object, |it| it.pid.map(|pid| pid.to_string()))
                }),
                column("TAP", |object, _| handle(object, |it| it.tap.clone())),
            ]);
        }
        columns.extend([
            column("UID", |object, _| object.metadata.uid.to_string()),
            column("FILE", |object, _| {
                object
                    .metadata
                    .source
                    .as_ref()
                    .map_or_else(|| NONE.to_owned(), |source| source.display().to_string())
            }),
        ]);
    }
    columns
}

/// The phase, and what stands beside it as kubectl writes `Ready,SchedulingDisabled`.
fn status(object: &Object) -> String {
    let mut words = match object.status.progress {
        Some(percent) if object.status.phase == banger_core::api::status::Phase::Importing => {
            format!("Importing {percent}%")
        }
        _ => format!("{:?}", object.status.phase),
    };
    let refused = condition(object, ConditionType::Accepted)
        .is_some_and(|it| it.status == ConditionStatus::False);
    if refused {
        words.push_str(",NotAccepted");
    }
    let no_network = condition(object, ConditionType::NetworkReady)
        .is_some_and(|it| it.status == ConditionStatus::False);
    if no_network {
        words.push_str(",NetworkNotReady");
    }
    for kind in [
        ConditionType::RestartRequired,
        ConditionType::ConfirmationRequired,
        ConditionType::UpdateAvailable,
        ConditionType::DeletionHeld,
        ConditionType::DiskPressure,
    ] {
        if stands(object, kind) {
            words.push_str(&format!(",{kind:?}"));
        }
    }
    words
}

fn vm(
    object: &Object,
    cell: impl Fn(&banger_core::api::VirtualMachineSpec) -> Option<String>,
) -> String {
    match &object.spec {
        ObjectSpec::VirtualMachine(spec) => cell(spec),
        ObjectSpec::Image(_) => None,
    }
    .unwrap_or_else(|| NONE.to_owned())
}

fn runtime(
    object: &Object,
    cell: impl Fn(&banger_core::api::status::VmRuntime) -> String,
) -> String {
    object
        .status
        .runtime
        .as_ref()
        .map_or_else(|| NONE.to_owned(), cell)
}

fn handle(
    object: &Object,
    cell: impl Fn(&banger_core::api::status::VmHandles) -> Option<String>,
) -> String {
    object
        .status
        .handles
        .as_ref()
        .and_then(cell)
        .unwrap_or_else(|| NONE.to_owned())
}

fn image_source(object: &Object) -> String {
    let ObjectSpec::Image(spec) = &object.spec else {
        return NONE.to_owned();
    };
    let rootfs = &spec.rootfs;
    let file = rootfs.disk.as_ref().or(rootfs.archive.as_ref());
    file.map(|file| file.path.clone())
        .or_else(|| rootfs.oci.as_ref().map(|oci| oci.reference.clone()))
        .or_else(|| {
            rootfs
                .build
                .as_ref()
                .map(|build| format!("build of {}", build.from))
        })
        .unwrap_or_else(|| NONE.to_owned())
}

/// `sha256:` and twelve digits, as container tools shorten it.
fn digest(object: &Object) -> String {
    match &object.status.image_digest {
        None => NONE.to_owned(),
        Some(digest) => {
            let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
            digits.chars().take(12).collect()
        }
    }
}
