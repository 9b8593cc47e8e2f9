//! A base chain as it is written, and as it must read. Each rule carries a
//! comment with the revision and its name, by which it is known what a table was
//! written for. Whether the rules still do what they say is for `reference.rs`.

use std::fmt::Write as _;

use super::listing::Listing;

/// Raised with every change of the rules, so that older ones are replaced.
pub(super) const REVISION: &str = "banger 3";

/// A base chain.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// `filter` or `nat`.
    pub(super) kind: &'static str,
    pub(super) hook: &'static str,
    pub(super) priority: i64,
    pub(super) rules: Vec<Rule>,
}

/// A rule: its name, and its words for nft(8).
#[derive(Debug)]
pub(super) struct Rule(pub(super) &'static str, pub(super) String);

impl Rule {
    fn comment(&self) -> String {
        format!("{REVISION}: {}", self.0)
    }
}

impl Chain {
    /// The chain with its rules, within a table.
    pub(super) fn write(&self, text: &mut String) {
        let Self {
            name,
            kind,
            hook,
            priority,
            rules,
        } = self;
        // Writing to a String can't fail.
        let _ = writeln!(text, "  chain {name} {{");
        let _ = writeln!(
            text,
            "    type {kind} hook {hook} priority {priority}; policy accept;"
        );
        write_rules(rules, text);
        text.push_str("  }\n");
    }

    /// The same rules in a chain that no packet comes by.
    pub(super) fn write_unhooked(&self, text: &mut String) {
        let _ = writeln!(text, "  chain {} {{", self.name);
        write_rules(&self.rules, text);
        text.push_str("  }\n");
    }

    /// Whether our table of this family has the chain with its hook, and rules of
    /// these names.
    pub(super) fn stands(&self, listing: &Listing, family: &'static str) -> bool {
        let Some(chain) = listing
            .ours(family, "chain")
            .find(|it| it["name"] == self.name)
        else {
            return false;
        };
        let as_made = chain["type"] == self.kind
            && chain["hook"] == self.hook
            && chain["prio"] == self.priority
            && chain["policy"] == "accept";
        let rules = listing
            .ours(family, "rule")
            .filter(|it| it["chain"] == self.name);
        let wanted = self.rules.iter().map(Rule::comment);
        as_made
            && rules
                .map(|it| it["comment"].as_str().unwrap_or("").to_owned())
                .eq(wanted)
    }
}

fn write_rules(rules: &[Rule], text: &mut String) {
    for rule in rules {
        let _ = writeln!(text, "    {} comment \"{}\"", rule.1, rule.comment());
    }
}

/// Whether our table has exactly these chains.
pub(super) fn all_stand(listing: &Listing, family: &'static str, chains: &[Chain]) -> bool {
    listing.ours(family, "chain").count() == chains.len()
        && chains.iter().all(|chain| chain.stands(listing, family))
}
