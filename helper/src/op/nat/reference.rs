//! What nft lists where a table is as we write it: the measure for what stands.
//!
//! nft's words for a rule change from version to version, and a comment tells
//! nothing of the rule that carries it. So each part of a table is written once
//! more, into a table of its own without a hook, which no packet ever sees; it
//! is listed and removed again. Where two listings say the same, the kernel
//! holds the same.
//!
//! Guarantees: nothing is kept here of what stands, so that a change in the midst of
//! ours isn't taken for ours; a part is written only if it isn't known yet or
//! differs, as all do once nft was updated. What doesn't count: handles, and the
//! order of a set's elements.

use std::collections::HashMap;

use serde_json::Value;
use tokio::sync::Mutex;

use super::chain::Chain;
use super::listing::Listing;
use crate::Failure;
use crate::program::Program::Nft;

/// The table that is written and removed.
const TABLE: &str = "banger-reference";

/// A part of a table of ours.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) family: &'static str,
    /// The sets that the rules name, for nft(8).
    pub(super) sets: String,
    /// Chains, of which the rules count.
    pub(super) chains: Vec<Chain>,
    /// Sets that count, by name.
    pub(super) counted: Vec<Counted>,
}

/// A set, and what of it counts.
#[derive(Debug)]
pub(super) enum Counted {
    /// Its definition: what it holds follows from the policy.
    Definition(String),
    /// Its elements, too.
    Whole(String),
}

/// The listings that are known, by what was written.
#[derive(Debug, Default)]
pub struct References(Mutex<HashMap<String, Vec<Value>>>);

impl References {
    /// Whether the part stands in our table as it is written.
    pub(super) async fn stands(&self, part: &Part, table: &Listing) -> Result<bool, Failure> {
        let found = part.body(table, "banger");
        let text = part.text();
        // Held meanwhile: there is one table to write into.
        let mut known = self.0.lock().await;
        if known.get(&text) == Some(&found) {
            return Ok(true);
        }
        let reference = part.written(&text).await?;
        let same = reference == found;
        known.insert(text, reference);
        Ok(same)
    }
}

impl Part {
    fn text(&self) -> String {
        let Self { family, sets, .. } = self;
        let mut text = format!("add table {family} {TABLE}\ndelete table {family} {TABLE}\n");
        text.push_str(&format!("table {family} {TABLE} {{\n{sets}"));
        for chain in &self.chains {
            chain.write_unhooked(&mut text);
        }
        text.push_str("}\n");
        text
    }

    /// Writes it, and lists what was written.
    async fn written(&self, text: &str) -> Result<Vec<Value>, Failure> {
        Nft.run(&["-f", "-"], text).await?;
        let listing = Listing::of_table(self.family, TABLE).await;
        Nft.run(&["delete", "table", self.family, TABLE], "")
            .await?;
        Ok(self.body(&listing?, TABLE))
    }

    /// What counts of it in a table.
    fn body(&self, listing: &Listing, table: &str) -> Vec<Value> {
        let mut body = Vec::new();
        for chain in &self.chains {
            let rules = listing.within(self.family, table, "rule");
            body.extend(rules.filter(|it| it["chain"] == chain.name).map(bare));
        }
        for counted in &self.counted {
            let (Counted::Definition(name) | Counted::Whole(name)) = counted;
            let mut sets = listing.within(self.family, table, "set");
            let Some(set) = sets.find(|it| it["name"] == name.as_str()) else {
                continue;
            };
            let mut set = bare(set);
            if let Some(object) = set.as_object_mut()
                && let (Some(Value::Array(mut elements)), Counted::Whole(_)) =
                    (object.remove("elem"), counted)
            {
                elements.sort_by_cached_key(Value::to_string);
                object.insert("elem".to_owned(), Value::Array(elements));
            }
            body.push(set);
        }
        body
    }
}

/// The object without what says only where it is.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        for place in ["family", "table", "handle"] {
            fields.remove(place);
        }
    }
    sort_sets(&mut object);
    object
}

/// Sets without a name, within a rule, are listed in any order.
fn sort_sets(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(sort_sets),
        Value::Object(fields) => {
            for (name, field) in fields {
                sort_sets(field);
                if let ("set", Value::Array(elements)) = (name.as_str(), field) {
                    elements.sort_by_cached_key(Value::to_string);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Part {
        Part {
            family: "inet",
            sets: String::new(),
            chains: vec![Chain {
                name: "input",
                kind: "filter",
                hook: "input",
                priority: 0,
                rules: Vec::new(),
            }],
            counted: vec![
                Counted::Whole("seats".into()),
                Counted::Definition("guests".into()),
            ],
        }
    }

    fn listing(table: &str, handle: u32, set: &str, elements: &str, verdict: &str) -> Listing {
        let text = format!(
            r#"{{"nftables": [{{"metainfo": {{"version": "1.0.6"}}}},
            {{"set": {{"family": "inet", "table": "{table}", "name": "seats", "handle": {handle},
                "type": "ipv4_addr", "elem": {elements}}}}},
            {{"set": {{"family": "inet", "table": "{table}", "name": "guests", "handle": 9,
                "type": "ipv4_addr", "elem": {elements}}}}},
            {{"rule": {{"family": "inet", "table": "{table}", "chain": "input",
                "handle": {handle}, "comment": "c", "expr": [{{"match": {{"right": {{"set": {set}}}}}}},
                {{"{verdict}": null}}]}}}}]}}"#
        );
        Listing::parse(&text).unwrap()
    }

    #[test]
    fn only_what_a_rule_does_and_a_set_holds_counts() {
        let body = |table, handle, set, elements, verdict| {
            part().body(&listing(table, handle, set, elements, verdict), table)
        };
        let ours = body("banger", 7, "[1, 2]", r#"["10.0.0.1", "10.0.0.2"]"#, "drop");
        let same = body(TABLE, 3, "[2, 1]", r#"["10.0.0.2", "10.0.0.1"]"#, "drop");
        assert_eq!(ours, same);
        let other_verdict = body(
            "banger",
            7,
            "[1, 2]",
            r#"["10.0.0.1", "10.0.0.2"]"#,
            "accept",
        );
        let other_words = body("banger", 7, "[1, 3]", r#"["10.0.0.1", "10.0.0.2"]"#, "drop");
        let fewer = body("banger", 7, "[1, 2]", r#"["10.0.0.1"]"#, "drop");
        for other in [other_verdict, other_words, fewer] {
            assert_ne!(ours, other);
        }
    }
}
