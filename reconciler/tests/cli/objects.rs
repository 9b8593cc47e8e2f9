//! Canned objects and answers.

use banger::wire::{Request, Response};
use banger_core::api::Kind;
use banger_core::api::status::Object;
use banger_core::diff::DiffReport;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub(crate) const UID: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f";

/// So many hours before the test began; the same each time.
pub(crate) fn ago(hours: i64) -> Timestamp {
    static NOW: std::sync::OnceLock<Timestamp> = std::sync::OnceLock::new();
    *NOW.get_or_init(Timestamp::now) - SignedDuration::from_hours(hours)
}

/// A VM of generation 2 that is Ready, as JSON: tests change what they are about.
pub(crate) fn vm_json(name: &str) -> Value {
    let since = ago(5);
    json!({
        "apiVersion": "banger.dev/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {
            "name": name, "uid": UID, "generation": 2, "labels": {"app": "shop"},
            "creationTimestamp": since, "source": "/home/ada/.config/banger/vms/web.yaml",
        },
        "spec": {"image": "debian-12", "vcpus": 2, "memory": "512Mi", "runPolicy": "Always"},
        "status": {
            "phase": "Ready",
            "observedGeneration": 2,
            "conditions": [
                condition("Accepted", "True", "Valid", ""),
                condition("Ready", "True", "Ready", ""),
            ],
            "runtime": {
                "guestIp": "172.30.0.2", "guestIp6": "fdba:ac1e:0:10::2", "mac": "02:ba:ac:1e:00:02", "vsockCid": 3,
                "dnsName": format!("{name}.vm"), "vmDir": format!("/var/lib/banger/vms/{UID}"),
                "serialLog": format!("/var/lib/banger/vms/{UID}/serial.log"),
                "apiSocket": format!("/run/banger/vms/{UID}/fc.sock"),
                "vsockSocket": format!("/run/banger/vms/{UID}/v.sock"),
                "knownHosts": format!("/home/owner/.local/state/banger/known_hosts/{UID}"),
                "restarts": 1,
            },
            "handles": {"pid": 4711, "startTime": 12345, "bootId": "b", "tap": "bgr1"},
            "imageDigest": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        },
    })
}

pub(crate) fn image_json(name: &str) -> Value {
    let since = ago(49);
    json!({
        "apiVersion": "banger.dev/v1alpha1",
        "kind": "Image",
        "metadata": {"name": name, "uid": UID, "generation": 1, "creationTimestamp": since, "source": null},
        "spec": {"rootfs": {"disk": {"path": "/srv/debian-12.ext4"}}},
        "status": {
            "phase": "Ready", "observedGeneration": 1,
            "conditions": [condition("Accepted", "True", "Valid", "")],
            "imageDigest": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        },
    })
}

pub(crate) fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let since = ago(4);
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "observedGeneration": 2, "lastTransitionTime": since,
    })
}

pub(crate) fn object(json: Value) -> Object {
    serde_json::from_value(json).unwrap()
}

pub(crate) fn vm(name: &str) -> Object {
    object(vm_json(name))
}

/// As `vm`, in another phase.
pub(crate) fn vm_in(name: &str, phase: &str) -> Object {
    let mut json = vm_json(name);
    json["status"]["phase"] = phase.into();
    object(json)
}

pub(crate) fn objects(objects: &[Object]) -> Response {
    Response::Objects {
        objects: objects.to_vec(),
        problems: Vec::new(),
    }
}

pub(crate) fn response(json: Value) -> Response {
    serde_json::from_value(json).unwrap()
}

pub(crate) fn not_found(what: &str) -> Response {
    response(json!({
        "response": "error", "code": "not-found", "message": format!("there is no {what}"), "remedy": null,
    }))
}

pub(crate) fn refusal(message: &str) -> Response {
    response(json!({
        "response": "error", "code": "conflict", "message": message, "remedy": null,
    }))
}

/// A `Diff` with one entry about a VM.
pub(crate) fn diff_entry(
    name: &str,
    change: &str,
    effect: &str,
    waits_for: Option<&str>,
) -> DiffReport {
    serde_json::from_value(json!({
        "entries": [{
            "kind": "VirtualMachine", "name": name, "change": change, "effect": effect,
            "fields": [
                {"field": "spec.vcpus", "from": "1", "to": "2", "effect": effect, "disk": null},
                {"field": "spec.network.nat", "from": "", "to": "false", "effect": "live", "disk": null},
            ],
            "before": "image: debian-12\nvcpus: 1\n", "after": "image: debian-12\nvcpus: 2\n",
            "actions": ["update: its spec changed"], "waitsFor": waits_for,
            "file": format!("/home/me/.config/banger/vms/{name}.yaml"),
        }],
        "problems": [],
    }))
    .unwrap()
}

pub(crate) fn diff(report: DiffReport) -> Vec<Response> {
    vec![Response::Diff {
        report: Box::new(report),
    }]
}

/// `Synced` with these VMs at generation 2.
pub(crate) fn synced(names: &[&str]) -> Vec<Response> {
    let admitted: Vec<Value> = names
        .iter()
        .map(|name| json!({"kind": "VirtualMachine", "name": name, "uid": UID, "generation": 2}))
        .collect();
    vec![response(
        json!({"response": "synced", "admitted": admitted, "problems": []}),
    )]
}

/// Answers as a daemon does that holds these VMs and to which nothing new happens.
pub(crate) fn steady(vms: Vec<Object>) -> impl Fn(&Request) -> Vec<Response> + Send + Sync {
    move |request| match request {
        Request::Version {} => vec![response(json!({
            "response": "version", "daemon": "0.1.0", "helper": {"Ok": "1.0"}, "simulated": true,
        }))],
        Request::List {
            kind: Kind::Image,
            name: Some(name),
        } => vec![not_found(&format!("image/{name}"))],
        Request::List {
            kind: Kind::Image, ..
        }
        | Request::Watch {
            kind: Kind::Image, ..
        } => {
            vec![objects(&[])]
        }
        Request::List {
            name: Some(name), ..
        } => match vms.iter().find(|vm| vm.metadata.name == *name) {
            Some(vm) => vec![objects(std::slice::from_ref(vm))],
            None => vec![not_found(&format!("vm/{name}"))],
        },
        Request::List { .. } | Request::Watch { .. } => vec![objects(&vms)],
        Request::Diff { .. } => diff(DiffReport::default()),
        Request::Sync {} => {
            let names: Vec<&str> = vms.iter().map(|vm| vm.metadata.name.as_str()).collect();
            synced(&names)
        }
        Request::Trash {} => vec![Response::Trash {
            entries: Vec::new(),
        }],
        Request::Prune { .. } => vec![Response::Pruned {
            objects: Vec::new(),
        }],
        Request::Inventory {} => vec![response(json!({
            "response": "inventory", "report": {"items": [], "unknown": [], "adoption": null},
        }))],
        Request::Collect { .. } => vec![response(json!({
            "response": "collected",
            "collected": {"dryRun": false, "removed": [], "left": []},
        }))],
        Request::Events { .. }
        | Request::EmptyTrash { .. }
        | Request::Undelete { .. }
        | Request::LeaveInTrash { .. }
        | Request::Rename { .. }
        | Request::Power { .. }
        | Request::Confirm { .. }
        | Request::Delete { .. } => {
            vec![Response::Done {}]
        }
    }
}
