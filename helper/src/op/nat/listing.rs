//! What nft(8) lists, as JSON (libnftables-json(5)): `{"nftables": [{kind: object}, …]}`.

use serde_json::Value;

use crate::Failure;
use crate::program::Program::Nft;

/// An answer of nft's.
#[derive(Clone, Debug)]
pub(super) struct Listing(Value);

impl Listing {
    /// Everybody's tables, chains and rules, without the elements of named sets.
    pub(super) async fn ruleset() -> Result<Self, Failure> {
        Self::ask(&["-j", "-t", "list", "ruleset"]).await
    }

    /// One of our tables, with all elements.
    pub(super) async fn table(family: &'static str) -> Result<Self, Failure> {
        Self::of_table(family, "banger").await
    }

    /// A table, with all elements.
    pub(super) async fn of_table(family: &str, name: &str) -> Result<Self, Failure> {
        Self::ask(&["-j", "list", "table", family, name]).await
    }

    async fn ask(args: &[&str]) -> Result<Self, Failure> {
        Self::parse(&Nft.run(args, "").await?)
    }

    /// Takes the text for an answer.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text)
            .map(Self)
            .map_err(|e| Failure::later("nft -j", format!("its answer can't be read: {e}")))
    }

    /// Every object of one kind.
    pub(super) fn objects(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        let all = self.0["nftables"].as_array().map_or(&[][..], Vec::as_slice);
        all.iter().filter_map(move |object| object.get(kind))
    }

    /// Whether our table of this family is there.
    pub(super) fn has_table(&self, family: &'static str) -> bool {
        let mut tables = self.objects("table");
        tables.any(|it| it["family"] == family && it["name"] == "banger")
    }

    /// Every object of one kind in our table of this family, in order.
    pub(super) fn ours(
        &self,
        family: &'static str,
        kind: &'static str,
    ) -> impl Iterator<Item = &Value> {
        self.within(family, "banger", kind)
    }

    /// Every object of one kind in a table, in order.
    pub(super) fn within(
        &self,
        family: &'static str,
        table: &str,
        kind: &'static str,
    ) -> impl Iterator<Item = &Value> {
        self.objects(kind)
            .filter(move |it| it["family"] == family && it["table"] == table)
    }

    /// The elements of a set of ours; `None` where there is no such set.
    pub(super) fn elements(&self, family: &'static str, name: &str) -> Option<&[Value]> {
        let set = self.ours(family, "set").find(|it| it["name"] == name)?;
        Some(set["elem"].as_array().map_or(&[][..], Vec::as_slice))
    }

    /// The names of a table's sets, sorted.
    pub(super) fn sets(&self, family: &'static str) -> Vec<String> {
        let named = self
            .ours(family, "set")
            .filter_map(|it| it["name"].as_str());
        let mut names: Vec<String> = named.map(str::to_owned).collect();
        names.sort_unstable();
        names
    }
}
