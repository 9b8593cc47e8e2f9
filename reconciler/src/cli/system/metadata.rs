//! `/etc/banger/install.toml`: what an installation decides once.

use banger_protocol::{Install, Ula};
use ipnet::Ipv4Net;

use super::layout::SUBNET;
use super::owner::Owner;
use crate::cli::{Exit, Failure};

/// The metadata of a new installation, or of the one that there is with its
/// owner's ids looked up again. What VMs were given once stays theirs, so the
/// ranges of an installation don't change.
///
/// # Errors
/// Where owner or a subnet differ from those of the installation that there is.
pub(super) fn decide(
    owner: &Owner,
    subnet: Option<Ipv4Net>,
    subnet6: Option<Ula>,
    before: Option<Install>,
) -> Result<Install, Failure> {
    let Some(before) = before else {
        return fresh(owner, subnet.unwrap_or(SUBNET).trunc(), subnet6);
    };
    let help = "`banger system uninstall` first; its disks stay";
    if before.owner != owner.name {
        let what = format!("banger on this host belongs to `{}`", before.owner);
        return Err(Failure::new(Exit::Conflict, what).help(help));
    }
    if let Some(subnet) = subnet
        && subnet.trunc() != before.subnet
    {
        let what = format!("guests on this host have addresses in {}", before.subnet);
        return Err(Failure::new(Exit::Conflict, what).help(help));
    }
    let ula = before.ula();
    if let Some(subnet6) = subnet6
        && subnet6 != ula
    {
        let what = format!("guests on this host have IPv6 addresses in {ula}");
        return Err(Failure::new(Exit::Conflict, what).help(help));
    }
    Ok(Install {
        owner_uid: owner.uid,
        owner_gid: owner.gid,
        subnet6: Some(ula),
        ..before
    })
}

fn fresh(owner: &Owner, subnet: Ipv4Net, subnet6: Option<Ula>) -> Result<Install, Failure> {
    if subnet.prefix_len() > 29 {
        return Err(Failure::invalid(format!("{subnet} has too few addresses"))
            .help("choose a subnet of /29 or larger"));
    }
    let decided = Install::of(&owner.name, owner.uid, owner.gid, subnet);
    Ok(Install {
        subnet6: subnet6.or(decided.subnet6),
        ..decided
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::decide;
    use crate::cli::system::owner::Owner;

    fn owner(name: &str, uid: u32) -> Owner {
        Owner {
            name: name.to_owned(),
            uid,
            gid: uid,
            home: format!("/home/{name}").into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let install = decide(&owner("ada", 1000), None, None, None).unwrap();
        assert_eq!(
            (install.slots, install.subnet.to_string().as_str()),
            (1024, "172.30.0.0/16")
        );
        let text = toml::to_string(&install).unwrap();
        assert_eq!(
            toml::from_str::<banger_protocol::Install>(&text).unwrap(),
            install
        );
    }

    #[test]
    fn every_slot_has_an_address() {
        for (subnet, slots) in [
            ("10.1.2.0/24", 253),
            ("10.1.2.77/29", 5),
            ("10.0.0.0/8", 1024),
        ] {
            let install = decide(
                &owner("ada", 1000),
                Some(subnet.parse().unwrap()),
                None,
                None,
            )
            .unwrap();
            assert_eq!(install.slots, slots);
            let last = banger_protocol::Slot::try_from(slots).unwrap();
            assert!(last.address(install.subnet).is_some(), "{subnet}");
        }
        assert!(
            decide(
                &owner("ada", 1000),
                Some("10.1.2.0/30".parse().unwrap()),
                None,
                None
            )
            .is_err()
        );
    }

    #[test]
    fn an_installation_keeps_its_owner_and_its_ranges() {
        let first = decide(
            &owner("ada", 1000),
            Some("10.1.2.0/24".parse().unwrap()),
            None,
            None,
        )
        .unwrap();
        let again = decide(&owner("ada", 1007), None, None, Some(first.clone())).unwrap();
        assert_eq!((again.owner_uid, again.subnet), (1007, first.subnet));
        let other = decide(&owner("bob", 1001), None, None, Some(first.clone())).unwrap_err();
        assert!(other.message.contains("belongs to `ada`"));
        let moved = decide(
            &owner("ada", 1000),
            Some("10.9.0.0/16".parse().unwrap()),
            None,
            Some(first),
        );
        assert!(moved.is_err());
    }

    #[test]
    fn an_installation_keeps_its_ipv6_prefix() {
        let ada = owner("ada", 1000);
        let text = |install: &banger_protocol::Install| install.subnet6.map(|it| it.to_string());
        let chosen: banger_protocol::Ula = "fd12:3456:789a:1::/64".parse().unwrap();
        let first = decide(&ada, None, Some(chosen), None).unwrap();
        assert_eq!(first.ula(), chosen);
        let again = decide(&ada, None, None, Some(first.clone())).unwrap();
        assert_eq!(again.subnet6, Some(chosen));
        let other = "fd12:3456:789a:2::/64".parse().unwrap();
        assert!(decide(&ada, None, Some(other), Some(first)).is_err());
        // One that was made before there was a prefix gets that of its subnet.
        let mut old = decide(&ada, None, None, None).unwrap();
        let derived = Some("fdba:ac1e:0:10::/64".to_owned());
        assert_eq!(text(&old), derived);
        old.subnet6 = None;
        assert_eq!(text(&decide(&ada, None, None, Some(old)).unwrap()), derived);
    }
}
