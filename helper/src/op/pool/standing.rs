//! What an interface is to us, from what the kernel itself carries.

use banger_protocol::{Slot, VmUid};
use netlink_packet_route::link::InfoKind;

use super::ROOT;
use crate::netlink::Link;

/// The alias of a tap that is no VM's.
pub const ALIAS: &str = "pool";
/// What the names of warm taps begin with; a number follows.
const PREFIX: &str = "tap-pool-";

/// What an interface is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ready for a VM.
    Warm(u16),
    /// Ours, and neither a VM's nor ready for one: a step was cut short, or
    /// somebody changed it.
    Unfinished,
    /// This VM's.
    Vm(VmUid),
    /// Nothing that we could prove to be ours.
    Foreign,
}

/// Tells it. `bridge` is our bridge's index, if it is there.
pub fn standing(link: &Link, bridge: Option<u32>) -> Standing {
    if link.kind != Some(InfoKind::Tun) {
        return Standing::Foreign;
    }
    let number = number(&link.name);
    match link.alias.as_deref() {
        Some(ALIAS) => {
            // Another bridge's port is another installation's.
            let elsewhere = link.controller.is_some() && link.controller != bridge;
            let port = link.controller.is_some() && !elsewhere;
            match number {
                Some(number) if port && !link.up && link.user == Some(ROOT) => {
                    Standing::Warm(number)
                }
                _ if elsewhere => Standing::Foreign,
                None if !is_slots(&link.name) => Standing::Foreign,
                _ => Standing::Unfinished,
            }
        }
        Some(alias) => match alias.parse() {
            // A VM never has its tap under such a name.
            Ok(_) if number.is_some() => Standing::Unfinished,
            Ok(uid) => Standing::Vm(uid),
            Err(_) => Standing::Foreign,
        },
        None => Standing::Foreign,
    }
}

/// The name of a warm tap.
pub(super) fn name(number: u16) -> String {
    format!("{PREFIX}{number}")
}

/// The number in the name of a warm tap.
pub(super) fn number(link: &str) -> Option<u16> {
    let number = link.strip_prefix(PREFIX)?.parse().ok()?;
    (name(number) == link).then_some(number)
}

fn is_slots(link: &str) -> bool {
    let digits = link.trim_start_matches(|c: char| !c.is_ascii_digit());
    let slot = digits
        .parse()
        .ok()
        .and_then(|n: u16| Slot::try_from(n).ok());
    slot.is_some_and(|slot| slot.tap() == link)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u32 = 3;
    const UID: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f";

    fn warm() -> Link {
        Link {
            index: 7,
            name: "tap-pool-12".into(),
            alias: Some(ALIAS.into()),
            kind: Some(InfoKind::Tun),
            controller: Some(OURS),
            up: false,
            user: Some(ROOT),
            group: 0,
        }
    }

    fn of(change: impl FnOnce(&mut Link)) -> Standing {
        let mut link = warm();
        change(&mut link);
        standing(&link, Some(OURS))
    }

    #[test]
    fn only_exactly_a_warm_tap_is_warm() {
        assert_eq!(of(|_| {}), Standing::Warm(12));
        for (change, is) in [
            (
                (|l| l.kind = Some(InfoKind::Dummy)) as fn(&mut Link),
                Standing::Foreign,
            ),
            (|l| l.alias = None, Standing::Foreign),
            (|l| l.alias = Some("Pool".into()), Standing::Foreign),
            (|l| l.controller = Some(OURS + 1), Standing::Foreign),
            (|l| l.name = "tap0".into(), Standing::Foreign),
            (|l| l.name = "tap-pool-012".into(), Standing::Foreign),
            (|l| l.controller = None, Standing::Unfinished),
            (|l| l.up = true, Standing::Unfinished),
            (|l| l.user = Some(50_001), Standing::Unfinished),
            (|l| l.user = None, Standing::Unfinished),
            (|l| l.name = "bgr4".into(), Standing::Unfinished),
            (|l| l.alias = Some(UID.into()), Standing::Unfinished),
        ] {
            assert_eq!(of(change), is);
        }
        let vms = of(|l| (l.name, l.alias) = ("bgr4".into(), Some(UID.into())));
        assert_eq!(vms, Standing::Vm(UID.parse().expect("a uid")));
        assert_eq!(standing(&warm(), None), Standing::Foreign);
    }
}
