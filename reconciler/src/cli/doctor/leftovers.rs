//! The inventory in a few lines: leftovers and adoption here, the tap pool and
//! tables of iptables-legacy beside it.

use banger_core::adoption::Adoption;
use banger_core::inventory::{InventoryReport, State};

use banger_protocol::Install;

use super::{Check, legacy, tap_pool};
use crate::cli::context::Context;

const NAME: &str = "leftovers";
const LIST: &str = "`banger doctor --inventory` names each, with the command that mends it";

pub(super) fn checks(context: &Context, install: Option<&Install>, answers: bool) -> Vec<Check> {
    if !answers {
        let why = "only the daemon knows, and it doesn't answer";
        return [NAME, tap_pool::NAME, legacy::NAME]
            .map(|name| Check::skip(name, why))
            .into();
    }
    match context.daemon.inventory() {
        Ok(report) => vec![
            leftovers(&report),
            adoption(report.adoption.as_ref()),
            tap_pool::judge(report.pool.as_ref()),
            legacy::judge(report.legacy_tables.as_deref(), install),
        ],
        Err(error) => vec![Check::warn(NAME, error.to_string(), LIST)],
    }
}

fn leftovers(report: &InventoryReport) -> Check {
    let (unowned, missing) = (report.count(State::Unowned), report.count(State::Missing));
    let counts = format!("{unowned} unowned, {missing} missing");
    if !report.unknown.is_empty() {
        let message = format!("{counts}; not everything could be read");
        return Check::warn(NAME, message, LIST);
    }
    if report.is_exact() {
        Check::pass(NAME, counts)
    } else {
        Check::warn(NAME, counts, LIST)
    }
}

fn adoption(adoption: Option<&Adoption>) -> Check {
    const NAME: &str = "running VMs";
    match adoption {
        None => Check::skip(NAME, "the daemon couldn't look at them yet"),
        Some(adoption) if adoption.left.is_empty() => Check::pass(NAME, adoption.to_string()),
        Some(adoption) => {
            let (uid, why) = adoption
                .left
                .first()
                .map(|left| (left.uid.to_string(), left.why.as_str()))
                .unwrap_or_default();
            Check::warn(NAME, format!("{adoption}; {uid}: {why}"), LIST)
        }
    }
}

#[cfg(test)]
mod tests {
    use banger_core::adoption::{Adoption, NotAdopted};
    use banger_core::inventory::{InventoryReport, Item, Object, State};

    use super::super::Verdict;
    use super::{adoption, leftovers};

    #[test]
    fn foreign_things_are_no_leftovers() {
        let with = |state| InventoryReport {
            items: vec![Item {
                state,
                object: Object::Tap,
                name: "bgr9".into(),
                uid: None,
                vm: None,
                why: String::new(),
                remedy: None,
            }],
            ..InventoryReport::default()
        };
        assert_eq!(leftovers(&with(State::Foreign)).verdict, Verdict::Pass);
        assert_eq!(leftovers(&with(State::Unneeded)).verdict, Verdict::Pass);
        assert_eq!(
            leftovers(&with(State::Owned)).message,
            "0 unowned, 0 missing"
        );
        assert_eq!(leftovers(&with(State::Unowned)).verdict, Verdict::Warn);
        assert_eq!(leftovers(&with(State::Missing)).verdict, Verdict::Warn);
        let unknown = InventoryReport {
            unknown: vec!["taps: EPERM".into()],
            ..InventoryReport::default()
        };
        assert_eq!(leftovers(&unknown).verdict, Verdict::Warn);
    }

    #[test]
    fn a_vm_that_was_not_adopted_is_told() {
        let mut taken = Adoption::default();
        assert_eq!(adoption(None).verdict, Verdict::Skip);
        assert_eq!(adoption(Some(&taken)).message, "adopted 0/0 running VMs");
        taken.left.push(NotAdopted {
            uid: "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f"
                .parse()
                .expect("a uid"),
            orphan: true,
            why: "no intent knows it".into(),
        });
        let told = adoption(Some(&taken));
        assert_eq!(told.verdict, Verdict::Warn);
        assert!(
            told.message
                .starts_with("adopted 0/1 running VMs; 0193f3a0")
        );
    }
}
