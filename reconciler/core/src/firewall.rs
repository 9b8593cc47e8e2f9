//! Firewalls of others in the way of guests: what a person is told, and what to add.

use banger_protocol::{Family, Firewall, Obstacle, Way};

/// What is in the way, in one line.
pub fn message(obstacle: &Obstacle) -> String {
    let Obstacle {
        table, chain, rule, ..
    } = obstacle;
    let what = match rule {
        Some(handle) => format!("rule {handle} of chain `{chain}`"),
        None => format!("the policy of chain `{chain}`"),
    };
    let whose = match obstacle.firewall {
        Firewall::Docker => ", Docker's,",
        Firewall::Ufw => ", ufw's,",
        Firewall::Firewalld => ", firewalld's,",
        Firewall::Other => "",
    };
    let packets = match (obstacle.way, obstacle.family) {
        (Way::Out, Family::Ipv4) => "what guests send beyond the host",
        (Way::Out, Family::Ipv6) => "what guests send beyond the host over IPv6",
        (Way::Back, Family::Ipv4) => "the answers to guests",
        (Way::Back, Family::Ipv6) => "the answers to guests over IPv6",
        (Way::Host, Family::Ipv4) => "guests' questions to the host's DNS server",
        (Way::Host, Family::Ipv6) => "guests' neighbour solicitations to the host",
        (Way::Guest, Family::Ipv4) => {
            "what the host sends to guests, as `banger vm ssh` and published ports do"
        }
        (Way::Guest, Family::Ipv6) => "the host's neighbour advertisements to guests",
    };
    format!("{what} in table `{table}`{whose} drops {packets}")
}

/// The command that lets guests through there. To the host as well: what else
/// listens there banger's own rules keep from guests.
pub fn remedy(obstacle: &Obstacle) -> String {
    let Obstacle {
        bridge,
        table,
        chain,
        ..
    } = obstacle;
    let iptables = match obstacle.family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    };
    match (obstacle.firewall, obstacle.way) {
        (Firewall::Docker, Way::Out) => {
            format!("sudo {iptables} -I DOCKER-USER -i {bridge} -j ACCEPT")
        }
        (Firewall::Docker, Way::Back) => format!(
            "sudo {iptables} -I DOCKER-USER -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        ),
        (Firewall::Docker, Way::Host) => {
            format!("sudo {iptables} -I INPUT -i {bridge} -j ACCEPT")
        }
        (Firewall::Docker, Way::Guest) => {
            format!("sudo {iptables} -I OUTPUT -o {bridge} -j ACCEPT")
        }
        (Firewall::Ufw, Way::Host) => format!("sudo ufw allow in on {bridge}"),
        (Firewall::Ufw, Way::Guest) => format!("sudo ufw allow out on {bridge}"),
        (Firewall::Ufw, Way::Out) => format!("sudo ufw route allow in on {bridge}"),
        (Firewall::Ufw, Way::Back) => format!("sudo ufw route allow out on {bridge}"),
        (Firewall::Firewalld, _) => format!(
            "sudo firewall-cmd --permanent --zone=trusted --add-interface={bridge} && sudo firewall-cmd --reload"
        ),
        (Firewall::Other, Way::Out | Way::Host) => {
            format!("sudo nft insert rule {table} {chain} iifname {bridge} accept")
        }
        (Firewall::Other, Way::Back) => format!(
            "sudo nft insert rule {table} {chain} oifname {bridge} ct state established,related accept"
        ),
        (Firewall::Other, Way::Guest) => {
            format!("sudo nft insert rule {table} {chain} oifname {bridge} accept")
        }
    }
}

/// All of them with their remedies, each remedy once.
pub fn told(obstacles: &[Obstacle]) -> String {
    let mut lines: Vec<String> = obstacles.iter().map(message).collect();
    let mut remedies = Vec::new();
    for remedy in obstacles.iter().map(remedy) {
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    lines.extend(remedies.iter().map(|remedy| format!("add: `{remedy}`")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obstacle(firewall: Firewall, way: Way, rule: Option<u64>) -> Obstacle {
        Obstacle {
            firewall,
            way,
            family: Family::Ipv4,
            bridge: "br-banger".into(),
            table: "ip filter".into(),
            chain: "FORWARD".into(),
            rule,
        }
    }

    #[test]
    fn the_rule_is_named_and_what_to_add() {
        let docker = [Way::Out, Way::Back].map(|way| obstacle(Firewall::Docker, way, None));
        assert_eq!(
            told(&docker),
            "the policy of chain `FORWARD` in table `ip filter`, Docker's, drops what guests send beyond the host\n\
             the policy of chain `FORWARD` in table `ip filter`, Docker's, drops the answers to guests\n\
             add: `sudo iptables -I DOCKER-USER -i br-banger -j ACCEPT`\n\
             add: `sudo iptables -I DOCKER-USER -o br-banger -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`"
        );
        let firewalld =
            [Way::Out, Way::Back].map(|way| obstacle(Firewall::Firewalld, way, Some(7)));
        let text = told(&firewalld);
        assert!(text.contains("rule 7 of chain"), "{text}");
        assert_eq!(text.matches("add: ").count(), 1, "{text}");
        for (firewall, words) in [
            (Firewall::Ufw, "ufw route allow in on br-banger"),
            (
                Firewall::Other,
                "nft insert rule ip filter FORWARD iifname br-banger accept",
            ),
        ] {
            assert!(remedy(&obstacle(firewall, Way::Out, None)).contains(words));
        }
        // Both ways of ufw's, and over both protocols, but each command once.
        let ufw = [Way::Host, Way::Out, Way::Out].map(|way| obstacle(Firewall::Ufw, way, None));
        let [dns, out, out6] = ufw;
        let out6 = Obstacle {
            family: Family::Ipv6,
            table: "ip6 filter".into(),
            ..out6
        };
        assert_eq!(
            told(&[dns, out, out6.clone()]),
            "the policy of chain `FORWARD` in table `ip filter`, ufw's, drops guests' questions to the host's DNS server\n\
             the policy of chain `FORWARD` in table `ip filter`, ufw's, drops what guests send beyond the host\n\
             the policy of chain `FORWARD` in table `ip6 filter`, ufw's, drops what guests send beyond the host over IPv6\n\
             add: `sudo ufw allow in on br-banger`\n\
             add: `sudo ufw route allow in on br-banger`"
        );
        let docker6 = Obstacle {
            firewall: Firewall::Docker,
            ..out6
        };
        assert!(remedy(&docker6).contains("sudo ip6tables -I DOCKER-USER -i br-banger"));
    }

    #[test]
    fn what_the_host_sends_to_guests_is_let_out_and_not_in() {
        for (firewall, words) in [
            (
                Firewall::Docker,
                "sudo iptables -I OUTPUT -o br-banger -j ACCEPT",
            ),
            (Firewall::Ufw, "sudo ufw allow out on br-banger"),
            (
                Firewall::Other,
                "sudo nft insert rule ip filter OUTPUT oifname br-banger accept",
            ),
        ] {
            let out = Obstacle {
                chain: "OUTPUT".into(),
                ..obstacle(firewall, Way::Guest, None)
            };
            assert_eq!(remedy(&out), words);
            assert!(message(&out).ends_with("as `banger vm ssh` and published ports do"));
        }
    }
}
