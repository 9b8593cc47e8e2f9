//! Firewalls of others that may stand in the way of guests' traffic. A packet
//! passes only if every table's chain lets it, so that banger's own accept
//! doesn't help against somebody else's drop.

use std::path::Path;

use banger_protocol::Install;

use banger_core::api::Kind;
use banger_core::api::status::{ConditionStatus, ConditionType, Object};

use super::Check;
use crate::cli::context::Context;
use crate::cli::system::layout::BRIDGE;
use crate::cli::system::program::try_run;

const NAME: &str = "firewall";

#[derive(Clone, Debug, Default)]
struct Reading {
    bridge: String,
    /// Docker's bridge is there.
    docker: bool,
    /// `nft list chain ip filter FORWARD`, where this account may ask.
    forward: Option<String>,
    /// `nft list chain ip filter DOCKER-USER`.
    docker_user: Option<String>,
    /// `/etc/ufw/ufw.conf`.
    ufw: String,
    firewalld: bool,
}

/// What the helper saw of the rules themselves, where a VM has been told; or
/// else what this account can see.
pub(super) fn check(context: &Context, install: Option<&Install>) -> Check {
    let vms = context.daemon.list(Kind::VirtualMachine, None);
    if let Some(check) = vms.ok().and_then(|listing| seen(&listing.objects)) {
        return check;
    }
    let chain = |name| try_run("nft", &["list", "chain", "ip", "filter", name]);
    judge(&Reading {
        bridge: install.map_or_else(|| BRIDGE.to_owned(), |install| install.bridge.clone()),
        docker: Path::new("/sys/class/net/docker0").exists(),
        forward: chain("FORWARD"),
        docker_user: chain("DOCKER-USER"),
        ufw: std::fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default(),
        firewalld: try_run("systemctl", &["is-active", "firewalld.service"])
            .is_some_and(|state| state.trim() == "active"),
    })
}

/// What a VM's `NetworkReady` says; they all say the same.
fn seen(vms: &[Object]) -> Option<Check> {
    let mut conditions = vms.iter().flat_map(|vm| &vm.status.conditions);
    let network = conditions.find(|it| it.kind == ConditionType::NetworkReady)?;
    match network.status {
        ConditionStatus::True => Some(Check::pass(NAME, "what guests send is forwarded")),
        ConditionStatus::False => {
            let (add, what): (Vec<&str>, Vec<&str>) = network
                .message
                .lines()
                .partition(|line| line.starts_with("add: "));
            Some(Check::warn(NAME, what.join("; "), add.join("; ")))
        }
        ConditionStatus::Unknown => None,
    }
}

fn judge(reading: &Reading) -> Check {
    let bridge = &reading.bridge;
    if reading.firewalld {
        return Check::warn(
            NAME,
            "firewalld is active and may reject what guests forward",
            format!(
                "`sudo firewall-cmd --permanent --zone=trusted --add-interface={bridge}`, \
                 then `sudo firewall-cmd --reload`"
            ),
        );
    }
    let ufw = reading
        .ufw
        .lines()
        .any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"));
    if ufw {
        return Check::warn(
            NAME,
            "ufw is enabled and drops what is forwarded unless told otherwise",
            format!("`sudo ufw route allow in on {bridge}` and `sudo ufw allow in on {bridge}`"),
        );
    }
    let drops = |text: &String| text.contains("policy drop");
    let excepted = |text: &String| text.contains(bridge.as_str());
    let let_through = reading.docker_user.as_ref().is_some_and(excepted)
        || reading.forward.as_ref().is_some_and(excepted);
    let in_the_way = match &reading.forward {
        Some(forward) => drops(forward) && !let_through,
        // Docker sets the policy to drop, and only root may look.
        None => reading.docker,
    };
    if in_the_way {
        let who = if reading.docker {
            "Docker's"
        } else {
            "the host's"
        };
        let seen = if reading.forward.is_some() {
            "drops what guests forward"
        } else {
            "may drop what guests forward (only root can look)"
        };
        return Check::warn(
            NAME,
            format!("{who} FORWARD chain {seen}"),
            format!(
                "`sudo iptables -I DOCKER-USER -i {bridge} -j ACCEPT` and `sudo iptables -I \
                 DOCKER-USER -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT` \
                 (without Docker: FORWARD instead of DOCKER-USER)"
            ),
        );
    }
    Check::pass(NAME, "nothing known stands in the way of guests")
}

#[cfg(test)]
mod tests {
    use banger_core::api::status::Object;
    use serde_json::json;

    use super::super::Verdict;
    use super::{Reading, judge, seen};

    fn reading() -> Reading {
        Reading {
            bridge: "br-banger".into(),
            ..Reading::default()
        }
    }

    fn told(reading: &Reading) -> (Verdict, String) {
        let check = judge(reading);
        let text = format!("{} {}", check.message, check.remedy.unwrap_or_default());
        (check.verdict, text)
    }

    #[test]
    fn what_a_vm_was_told_counts() {
        let vm = |status: &str, message: &str| -> Object {
            serde_json::from_value(json!({
                "apiVersion": "banger.dev/v1alpha1",
                "kind": "VirtualMachine",
                "metadata": {
                    "name": "web", "uid": "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f", "generation": 1,
                    "creationTimestamp": "2026-01-01T00:00:00Z", "source": null
                },
                "spec": {"image": "debian"},
                "status": {
                    "phase": "Ready", "observedGeneration": 1,
                    "conditions": [{
                        "type": "NetworkReady", "status": status, "reason": "R",
                        "message": message, "observedGeneration": 1,
                        "lastTransitionTime": "2026-01-01T00:00:00Z"
                    }]
                }
            }))
            .unwrap()
        };
        let told = seen(&[vm("False", "a drops\nb drops\nadd: `c`")]).unwrap();
        assert_eq!(told.verdict, Verdict::Warn);
        assert_eq!(
            (told.message.as_str(), told.remedy.as_deref()),
            ("a drops; b drops", Some("add: `c`"))
        );
        assert_eq!(seen(&[vm("True", "")]).unwrap().verdict, Verdict::Pass);
        assert_eq!(seen(&[vm("Unknown", "no nft")]), None);
        assert_eq!(seen(&[]), None);
    }

    #[test]
    fn each_firewall_is_recognised() {
        assert_eq!(told(&reading()).0, Verdict::Pass);
        let docker = Reading {
            docker: true,
            forward: Some("chain FORWARD { type filter; policy drop; }".into()),
            ..reading()
        };
        let (verdict, text) = told(&docker);
        assert_eq!(verdict, Verdict::Warn);
        assert!(
            text.contains("Docker's") && text.contains("-i br-banger"),
            "{text}"
        );
        let excepted = Reading {
            docker_user: Some("iifname \"br-banger\" accept".into()),
            ..docker
        };
        assert_eq!(told(&excepted).0, Verdict::Pass);
        let unseen = Reading {
            docker: true,
            ..reading()
        };
        assert!(told(&unseen).1.contains("only root can look"));
        let accepts = Reading {
            docker: true,
            forward: Some("chain FORWARD { policy accept; }".into()),
            ..reading()
        };
        assert_eq!(told(&accepts).0, Verdict::Pass);
        let ufw = Reading {
            ufw: "# ufw\nENABLED=yes\n".into(),
            ..reading()
        };
        assert!(told(&ufw).1.contains("ufw route"));
        let firewalld = Reading {
            firewalld: true,
            ..reading()
        };
        assert!(told(&firewalld).1.contains("firewall-cmd"));
    }
}
