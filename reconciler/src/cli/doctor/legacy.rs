//! Tables of iptables-legacy: packets pass their rules beside those of nftables,
//! and nobody can read them through nft.

use banger_protocol::Install;

use super::Check;
use crate::cli::system::layout::BRIDGE;

pub(super) const NAME: &str = "iptables-legacy";

/// The tables, as nft would name them.
pub(super) fn judge(tables: Option<&[String]>, install: Option<&Install>) -> Check {
    let tables = match tables {
        None => return Check::skip(NAME, "the helper doesn't tell"),
        Some([]) => return Check::pass(NAME, "it has no tables that could drop anything"),
        Some(tables) => tables,
    };
    let bridge = install.map_or(BRIDGE, |install| install.bridge.as_str());
    let of = |family: &str| tables.iter().any(|table| table.starts_with(family));
    let remedies: Vec<String> = [("ip ", "iptables-legacy"), ("ip6 ", "ip6tables-legacy")]
        .into_iter()
        .filter(|(family, _)| of(family))
        .map(|(_, program)| {
            format!(
                "`sudo {program} -S` shows rules; where they drop what guests send: `sudo \
                 {program} -I FORWARD -i {bridge} -j ACCEPT`, `sudo {program} -I FORWARD -o \
                 {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT` and `sudo \
                 {program} -I INPUT -i {bridge} -j ACCEPT`"
            )
        })
        .collect();
    Check::warn(
        NAME,
        format!(
            "rules of its tables hold beside nftables', and banger can't see them: {}",
            tables.join(", ")
        ),
        remedies.join("; "),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::judge;

    #[test]
    fn tables_that_cannot_be_read_are_named_with_what_shows_them() {
        assert_eq!(judge(None, None).verdict, Verdict::Skip);
        assert_eq!(judge(Some(&[]), None).verdict, Verdict::Pass);
        let told = |tables: &[&str]| {
            let tables: Vec<String> = tables.iter().map(|&it| it.to_owned()).collect();
            let check = judge(Some(&tables), None);
            assert_eq!(check.verdict, Verdict::Warn);
            (check.message, check.remedy.unwrap_or_default())
        };
        let (message, remedy) = told(&["ip filter", "ip mangle"]);
        assert!(message.ends_with("ip filter, ip mangle"), "{message}");
        assert!(remedy.contains("`sudo iptables-legacy -S`"), "{remedy}");
        assert!(remedy.contains("-I FORWARD -i br-banger"), "{remedy}");
        assert!(!remedy.contains("ip6tables"), "{remedy}");
        let (_, remedy) = told(&["ip6 filter"]);
        assert!(remedy.contains("`sudo ip6tables-legacy -S`"), "{remedy}");
        assert!(!remedy.contains("sudo iptables"), "{remedy}");
    }
}
