//! Tables of iptables-legacy. Packets pass their rules beside those of nftables,
//! and nft lists none of them; the kernel tells everybody's root which tables
//! there are, and which rules only over iptables' own interface.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::Failure;

/// Of each family the file with their names, one a line, in the caller's network
/// namespace (`net/netfilter/x_tables.c`). It is missing while `ip_tables.ko`,
/// or `ip6_tables.ko`, isn't loaded: then there are none.
const FILES: [(&str, &str); 2] = [("ip", "ip_tables_names"), ("ip6", "ip6_tables_names")];
const NET: &str = "/proc/thread-self/net";
/// Addresses are changed there, and nothing is dropped.
const TRANSLATION: &str = "nat";

/// As nft would name them, `ip filter`, but for those that only translate.
pub fn tables() -> Result<Vec<String>, Failure> {
    below(Path::new(NET)).map_err(|(path, e)| Failure::os("read", path, e))
}

fn below(net: &Path) -> Result<Vec<String>, (String, io::Error)> {
    let mut tables = Vec::new();
    for (family, file) in FILES {
        let path = net.join(file);
        let names = match fs::read_to_string(&path) {
            Ok(names) => names,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err((path.display().to_string(), e)),
        };
        let filters = names.lines().filter(|name| *name != TRANSLATION);
        tables.extend(filters.map(|name| format!("{family} {name}")));
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn tables_that_may_drop_are_named_by_family() {
        let net = tempfile::tempdir().unwrap();
        assert_eq!(below(net.path()).unwrap(), Vec::<String>::new());
        fs::write(net.path().join("ip_tables_names"), "nat\nfilter\n").unwrap();
        fs::write(net.path().join("ip6_tables_names"), "mangle\n").unwrap();
        assert_eq!(below(net.path()).unwrap(), ["ip filter", "ip6 mangle"]);
        // What can't be read isn't nothing.
        fs::remove_file(net.path().join("ip_tables_names")).unwrap();
        fs::create_dir(net.path().join("ip_tables_names")).unwrap();
        let (path, _) = below(net.path()).unwrap_err();
        assert!(path.ends_with("ip_tables_names"), "{path}");
    }
}
