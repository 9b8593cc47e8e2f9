//! What a change does to a VM: one function that `diff` shows and the plan obeys.
//!
//! [`between`] compares two canonical specs field by field. [`effective`] says
//! what the next start is made with: the desired spec, with every field whose
//! change is still unconfirmed kept as it is applied.

use std::fmt::Display;

use banger_protocol::{Cidrs, DiskRole};
use serde::{Deserialize, Serialize};

use crate::api::virtual_machine::FileSync;
use crate::api::{Name, Quantity};
use crate::intent::{Confirmation, ImageDigest, Intents, VmIntent, VmSpec};

/// The effects, from the mildest to the gravest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Taken at once; the guest doesn't notice.
    Live,
    /// Taken at the next start.
    Restart,
    /// The root disk is made anew; the old one goes to the trash. Held until confirmed.
    ReplaceRoot,
    /// Something that the guest wrote is lost. Held until confirmed.
    LosesData,
}

impl Effect {
    /// Whether it waits for a person's word.
    pub const fn is_held(self) -> bool {
        matches!(self, Self::ReplaceRoot | Self::LosesData)
    }

    /// As people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
            Self::ReplaceRoot => "replace-root",
            Self::LosesData => "loses-data",
        }
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field, such as `spec.vcpus`.
    pub field: String,
    /// As it is; empty where it wasn't set.
    pub from: String,
    /// As it is wanted; empty where it goes.
    pub to: String,
    /// What taking it does.
    pub effect: Effect,
    /// The disk that it replaces, for the two effects that are held.
    pub disk: Option<DiskRole>,
}

impl FieldChange {
    /// The words that a [`Confirmation`] binds.
    pub fn words(&self) -> String {
        format!("{}: {} -> {}", self.field, self.from, self.to)
    }

    /// A confirmation of exactly this change; `None` where none is needed.
    pub fn confirmation(&self) -> Option<Confirmation> {
        self.disk.map(|disk| Confirmation {
            disk,
            change: self.words(),
        })
    }
}

/// Every field in which two canonical specs differ, in the order of the spec.
pub fn between(from: &VmSpec, to: &VmSpec) -> Vec<FieldChange> {
    // Destructured, so that a new field can't be forgotten here.
    let VmSpec {
        image,
        run_policy,
        vcpus,
        memory,
        root_disk,
        work_disk,
        nat,
        ports,
        egress,
        ssh_authorized_keys,
        file_sync,
        env,
        update_policy,
        termination_grace_period_seconds,
    } = to;
    let mut changes = Changes(Vec::new());
    changes.add(
        "spec.image",
        &from.image,
        image,
        Effect::ReplaceRoot,
        Some(DiskRole::Cow),
    );
    changes.debug("spec.runPolicy", from.run_policy, *run_policy);
    changes.add("spec.vcpus", &from.vcpus, vcpus, Effect::Restart, None);
    changes.add("spec.memory", &from.memory, memory, Effect::Restart, None);
    let root = if *root_disk < from.root_disk {
        (Effect::ReplaceRoot, Some(DiskRole::Cow))
    } else {
        (Effect::Restart, None)
    };
    changes.add(
        "spec.rootDisk.size",
        &from.root_disk,
        root_disk,
        root.0,
        root.1,
    );
    let work = match (from.work_disk, *work_disk) {
        (Some(old), Some(new)) if new < old => (Effect::LosesData, Some(DiskRole::Work)),
        (Some(_), None) => (Effect::LosesData, Some(DiskRole::Work)),
        _ => (Effect::Restart, None),
    };
    changes.add(
        "spec.workDisk.size",
        &size(from.work_disk),
        &size(*work_disk),
        work.0,
        work.1,
    );
    changes.add("spec.network.nat", &from.nat, nat, Effect::Live, None);
    let list = |ports: &[crate::api::virtual_machine::Port]| {
        let words: Vec<_> = ports.iter().map(ToString::to_string).collect();
        words.join(", ")
    };
    changes.add(
        "spec.network.ports",
        &list(&from.ports),
        &list(ports),
        Effect::Live,
        None,
    );
    let networks = |egress: &Option<Cidrs>| match egress {
        None => String::new(),
        Some(allow) => {
            let words: Vec<_> = allow.iter().map(|it| it.to_string()).collect();
            format!("[{}]", words.join(", "))
        }
    };
    changes.add(
        "spec.network.egress.allow",
        &networks(&from.egress),
        &networks(egress),
        Effect::Live,
        None,
    );
    let keys = |keys: &[String]| {
        let words: Vec<_> = keys.iter().map(|key| short_key(key)).collect();
        words.join(", ")
    };
    if from.ssh_authorized_keys != *ssh_authorized_keys {
        changes.0.push(FieldChange {
            field: "spec.sshAuthorizedKeys".into(),
            from: keys(&from.ssh_authorized_keys),
            to: keys(ssh_authorized_keys),
            effect: Effect::Live,
            disk: None,
        });
    }
    if from.file_sync != *file_sync {
        let words = |files: &[FileSync]| {
            let words = files
                .iter()
                .map(|it| format!("{} to {}", it.source, it.path));
            words.collect::<Vec<_>>().join(", ")
        };
        changes.0.push(FieldChange {
            field: "spec.fileSync".into(),
            from: words(&from.file_sync),
            to: words(file_sync),
            effect: Effect::Live,
            disk: None,
        });
    }
    for name in from
        .env
        .keys()
        .chain(env.keys().filter(|name| !from.env.contains_key(*name)))
    {
        let of = |env: &std::collections::BTreeMap<String, String>| {
            env.get(name).cloned().unwrap_or_default()
        };
        if from.env.get(name) != env.get(name) {
            changes.0.push(FieldChange {
                field: format!("spec.env.{name}"),
                from: of(&from.env),
                to: of(env),
                effect: Effect::Restart,
                disk: None,
            });
        }
    }
    changes.debug("spec.updatePolicy", from.update_policy, *update_policy);
    changes.add(
        "spec.terminationGracePeriodSeconds",
        &from.termination_grace_period_seconds,
        termination_grace_period_seconds,
        Effect::Live,
        None,
    );
    changes.0
}

struct Changes(Vec<FieldChange>);

impl Changes {
    fn add<T: PartialEq + Display>(
        &mut self,
        field: &str,
        from: &T,
        to: &T,
        effect: Effect,
        disk: Option<DiskRole>,
    ) {
        if from != to {
            let (from, to) = (from.to_string(), to.to_string());
            self.0.push(FieldChange {
                field: field.into(),
                from,
                to,
                effect,
                disk,
            });
        }
    }

    /// For policies, whose names in the code are their names in the spec.
    fn debug<T: PartialEq + std::fmt::Debug>(&mut self, field: &str, from: T, to: T) {
        if from != to {
            self.0.push(FieldChange {
                field: field.into(),
                from: format!("{from:?}"),
                to: format!("{to:?}"),
                effect: Effect::Live,
                disk: None,
            });
        }
    }
}

fn size(size: Option<Quantity>) -> String {
    size.map(|size| size.to_string()).unwrap_or_default()
}

/// A key as people tell keys apart: its type and comment.
fn short_key(key: &str) -> String {
    let mut words = key.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let body = words.next().unwrap_or_default();
    let tail = &body[body.len().saturating_sub(8)..];
    match words.next() {
        Some(comment) => format!("{kind} …{tail} {comment}"),
        None => format!("{kind} …{tail}"),
    }
}

/// Changes of a VM that was started before, against what it was started with.
/// A change of the image that leads to the very same content is live.
pub fn pending(vm: &VmIntent, intents: &Intents) -> Vec<FieldChange> {
    let Some(applied) = &vm.applied else {
        return Vec::new();
    };
    let mut changes = between(&applied.spec, &vm.spec);
    let wanted = imported(&vm.spec.image, intents);
    for change in &mut changes {
        if change.field == "spec.image" && wanted == Some(&applied.image) {
            change.effect = Effect::Live;
            change.disk = None;
        }
    }
    changes
}

/// The digest that an image's name stands for now.
pub fn imported<'a>(name: &Name, intents: &'a Intents) -> Option<&'a ImageDigest> {
    intents
        .image(name)?
        .imported
        .as_ref()
        .map(|imported| &imported.digest)
}

/// Whether the VM's image has been imported anew since the VM was made from it.
pub fn update_available(vm: &VmIntent, intents: &Intents) -> bool {
    let same_name = vm
        .applied
        .as_ref()
        .is_some_and(|applied| applied.spec.image == vm.spec.image);
    same_name
        && vm.image.is_some()
        && imported(&vm.spec.image, intents).is_some_and(|new| vm.image.as_ref() != Some(new))
}

/// The change that [`update_available`] offers; taken only when confirmed.
pub fn image_update(vm: &VmIntent, intents: &Intents) -> Option<FieldChange> {
    if !update_available(vm, intents) {
        return None;
    }
    Some(FieldChange {
        field: format!("image {}", vm.spec.image),
        from: vm.image.as_ref()?.0.clone(),
        to: imported(&vm.spec.image, intents)?.0.clone(),
        effect: Effect::ReplaceRoot,
        disk: Some(DiskRole::Cow),
    })
}

/// Whether a person confirmed this change.
pub fn is_confirmed(vm: &VmIntent, change: &FieldChange) -> bool {
    change
        .confirmation()
        .is_some_and(|wanted| vm.confirmations.contains(&wanted))
}

/// What the next start is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The desired spec, less what is held.
    pub spec: VmSpec,
    /// The image that the root disk is to lie over; `None`: it isn't imported.
    pub image: Option<ImageDigest>,
    /// Disks that are replaced on the way, because somebody confirmed it.
    pub replace: Vec<DiskRole>,
    /// Changes that are held.
    pub held: Vec<FieldChange>,
}

/// What the next start is made with. For a VM that was never started that is
/// the desired spec with the image as it is imported now.
pub fn effective(vm: &VmIntent, intents: &Intents) -> Effective {
    let now = || imported(&vm.spec.image, intents).cloned();
    let Some(applied) = &vm.applied else {
        // A pinned image stays pinned: its root disk may exist already.
        let image = vm.image.clone().or_else(now);
        return Effective {
            spec: vm.spec.clone(),
            image,
            replace: Vec::new(),
            held: Vec::new(),
        };
    };
    let mut spec = vm.spec.clone();
    let mut image = vm.image.clone().or_else(now);
    let mut replace = Vec::new();
    let mut held = Vec::new();
    for change in pending(vm, intents) {
        let Some(disk) = change.disk else { continue };
        if is_confirmed(vm, &change) {
            if disk == DiskRole::Cow {
                image = now();
            }
            if !replace.contains(&disk) {
                replace.push(disk);
            }
            continue;
        }
        match (change.field.as_str(), disk) {
            ("spec.image", _) => spec.image = applied.spec.image.clone(),
            (_, DiskRole::Work) => spec.work_disk = applied.spec.work_disk,
            _ => spec.root_disk = applied.spec.root_disk,
        }
        held.push(change);
    }
    if let Some(update) = image_update(vm, intents)
        && is_confirmed(vm, &update)
    {
        image = now();
        if !replace.contains(&DiskRole::Cow) {
            replace.push(DiskRole::Cow);
        }
    }
    Effective {
        spec,
        image,
        replace,
        held,
    }
}
