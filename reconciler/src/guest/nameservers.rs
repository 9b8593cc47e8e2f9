//! The DNS servers that guests are told of where banger's own is disabled: the
//! host's upstreams.

use std::net::Ipv4Addr;
use std::path::Path;

/// resolv.conf(5), `MAXNS`.
const MAX: usize = 3;

/// The host's upstream servers that a guest can reach: IPv4, not loopback.
/// Where resolv.conf names only the local stub of systemd-resolved, the file
/// with its upstreams is read instead.
pub fn of_host() -> Vec<Ipv4Addr> {
    of_files(&[
        Path::new("/etc/resolv.conf"),
        Path::new("/run/systemd/resolve/resolv.conf"),
    ])
}

fn of_files(files: &[&Path]) -> Vec<Ipv4Addr> {
    files
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| parse(&text))
        .find(|servers| !servers.is_empty())
        .unwrap_or_default()
}

/// The servers of a resolv.conf that a guest can reach.
pub fn parse(text: &str) -> Vec<Ipv4Addr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then_some(())?;
            words.next()?.parse().ok()
        })
        .filter(|address: &Ipv4Addr| !address.is_loopback() && !address.is_unspecified())
        .take(MAX)
        .collect()
}
