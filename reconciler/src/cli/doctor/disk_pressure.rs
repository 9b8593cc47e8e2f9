//! What waits for room on the disk, as the daemon knows it.

use banger_core::api::Kind;
use banger_core::api::status::{ConditionType, Object, Phase};

use super::Check;
use crate::cli::context::Context;
use crate::cli::settle::{condition, stands};

const NAME: &str = "disk pressure";

pub(super) fn check(context: &Context, answers: bool) -> Check {
    if !answers {
        return Check::skip(NAME, "only the daemon knows, and it doesn't answer");
    }
    let listed = [Kind::VirtualMachine, Kind::Image]
        .map(|kind| context.daemon.list(kind, None))
        .into_iter()
        .collect::<Result<Vec<_>, _>>();
    match listed {
        Ok(listings) => judge(listings.iter().flat_map(|listing| &listing.objects)),
        Err(error) => Check::warn(NAME, error.to_string(), "see `banger get vms`"),
    }
}

fn judge<'a>(objects: impl Iterator<Item = &'a Object>) -> Check {
    let waits: Vec<&Object> = objects
        .filter(|object| stands(object, ConditionType::DiskPressure))
        .collect();
    let Some(first) = waits.first() else {
        return Check::pass(NAME, "nothing waits for room");
    };
    let names: Vec<String> = waits
        .iter()
        .map(|object| {
            let name = format!("{}/{}", object.kind.short(), object.metadata.name);
            match object.status.phase {
                Phase::Paused => format!("{name} (paused)"),
                _ => name,
            }
        })
        .collect();
    let why = condition(first, ConditionType::DiskPressure).map_or("", |it| it.message.as_str());
    Check::fail(
        NAME,
        format!("waiting for room: {}", names.join(", ")),
        why.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use banger_core::api::status::Object;
    use serde_json::json;

    use super::super::Verdict;
    use super::judge;

    fn vm(name: &str, phase: &str, pressure: &str) -> Object {
        serde_json::from_value(json!({
            "apiVersion": "banger.dev/v1alpha1", "kind": "VirtualMachine",
            "metadata": {
                "name": name, "uid": "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z", "source": null,
            },
            "spec": {"image": "debian"},
            "status": {"phase": phase, "observedGeneration": 1, "conditions": [{
                "type": "DiskPressure", "status": pressure, "reason": "FileSystemFillsUp",
                "message": "300Mi are left", "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        }))
        .expect("an object")
    }

    #[test]
    fn who_waits_is_named_and_why() {
        let well = [vm("a", "Ready", "False")];
        assert_eq!(judge(well.iter()).verdict, Verdict::Pass);
        let check = judge([vm("a", "Paused", "True"), vm("b", "Pending", "True")].iter());
        assert_eq!(check.verdict, Verdict::Fail);
        assert_eq!(check.message, "waiting for room: vm/a (paused), vm/b");
        assert!(check.remedy.is_some_and(|it| it.contains("300Mi")));
    }
}
