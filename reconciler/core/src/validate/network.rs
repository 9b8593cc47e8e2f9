//! Published ports and egress policies.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::findings::Findings;
use crate::api::bounds::{MAX_EGRESS, MAX_PORTS, MIN_HOST_PORT};
use crate::api::virtual_machine::{NetworkSpec, Port};

pub(super) fn check(network: &NetworkSpec, findings: &mut Findings<'_>) {
    if network.ports.len() > MAX_PORTS {
        findings.refuse(
            "spec.network.ports",
            format!("{} published ports are too many", network.ports.len()),
            format!("publish {MAX_PORTS} or fewer; the VM's own address reaches all of them"),
        );
    }
    egress(network, findings);
    let mut seen = BTreeMap::new();
    for (index, port) in network.ports.iter().enumerate() {
        let field = format!("spec.network.ports[{index}]");
        one(&field, port, findings);
        if let Some(first) = seen.insert((port.host, port.protocol), index) {
            findings.refuse(
                &format!("{field}.host"),
                format!(
                    "{} port {} of the host is published twice, here and in `ports[{first}]`",
                    port.protocol.as_str(),
                    port.host
                ),
                "choose another host port for one of the two",
            );
        }
    }
}

fn egress(network: &NetworkSpec, findings: &mut Findings<'_>) {
    let Some(egress) = &network.egress else {
        return;
    };
    let allow = &egress.allow;
    if allow.len() > MAX_EGRESS {
        findings.refuse(
            "spec.network.egress.allow",
            format!("{} networks are too many for one VM", allow.len()),
            format!("allow {MAX_EGRESS} or fewer: write larger networks, or send the guest through a proxy"),
        );
    }
    for (index, network) in allow.iter().enumerate() {
        if !network.is_canonical() {
            findings.refuse(
                &format!("spec.network.egress.allow[{index}]"),
                format!("`{network}` is an address within a network, not a network"),
                format!(
                    "write `{}` for the network, or `{}/{}` for the one address",
                    network.get().trunc(),
                    network.get().addr(),
                    network.get().max_prefix_len()
                ),
            );
        }
    }
}

fn one(field: &str, port: &Port, findings: &mut Findings<'_>) {
    if port.host < MIN_HOST_PORT {
        findings.refuse(
            &format!("{field}.host"),
            format!(
                "port {} of the host can't be published: ports below {MIN_HOST_PORT} are for root",
                port.host
            ),
            format!("write a port from {MIN_HOST_PORT} to 65535, such as 8080"),
        );
    }
    if port.guest == 0 {
        findings.refuse(
            &format!("{field}.guest"),
            "there is no port 0",
            "write the port that the guest's program listens on, from 1 to 65535",
        );
    }
    if let Some(address) = port.address
        && (address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST))
    {
        findings.refuse(
            &format!("{field}.address"),
            format!("{address} is no address of one host, so that nothing can listen there"),
            "write an address of the host's, `0.0.0.0` for all of them over IPv4, or leave \
             `address` out for 127.0.0.1",
        );
    }
}
