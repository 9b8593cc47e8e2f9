//! Forwarding and masquerade: nftables tables `inet banger` and
//! `bridge banger` ([`seats`]), all of them ours, each replaced in one transaction.
//!
//! - guests in the set may leave through anything but the bridge, behind the
//!   host's address; answers come back; everything else to or from the bridge
//!   is dropped;
//! - guests reach the host's own DNS and its ping, no other service;
//! - a guest speaks with its own MAC and address only, so that one outside the
//!   set can't borrow the address of one inside.

mod seats;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use banger_protocol::{Handle, Install, Slot};
use serde_json::Value;

use crate::program::Program::Nft;
use crate::{Done, Failure, Host, Outcome};

/// Raised with every change of the rules, so that an older table is replaced.
const REVISION: &str = "banger rules 1";
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Makes the table allow exactly these guests.
pub async fn ensure(host: &Host, guests: &BTreeSet<Slot>) -> Done {
    for &slot in guests {
        host.vmm_uid(slot)?;
    }
    let _turn = host.nat.lock().await;
    let mut changed = false;
    if forwarding(&host.install).await?.as_ref() != Some(guests) {
        Nft.run(&["-f", "-"], &ruleset(&host.install, guests))
            .await?;
        changed = true;
    }
    if !seats::stand(&host.install).await? {
        Nft.run(&["-f", "-"], &seats::ruleset(&host.install))
            .await?;
        changed = true;
    }
    if !guests.is_empty() {
        changed |= forward()?;
    }
    Ok(Outcome::new(changed, Handle::None))
}

/// The guests in the table as [`ensure`] writes it; `None` where a table is
/// missing or says something else.
pub async fn read(install: &Install) -> Result<Option<BTreeSet<Slot>>, Failure> {
    let guests = forwarding(install).await?;
    if guests.is_some() && !seats::stand(install).await? {
        return Ok(None);
    }
    Ok(guests)
}

async fn forwarding(install: &Install) -> Result<Option<BTreeSet<Slot>>, Failure> {
    let table = table("inet").await?;
    Ok(table.and_then(|table| guests(install, &table)))
}

/// Our table of a family, without the elements of large sets in `bridge`.
async fn table(family: &'static str) -> Result<Option<Value>, Failure> {
    // Listing every table first: a missing one is no error then.
    let tables = parse(&Nft.run(&["-j", "list", "tables"], "").await?)?;
    if !objects(&tables, "table").any(|t| t["family"] == family && t["name"] == "banger") {
        return Ok(None);
    }
    let mut args = vec!["-j", "list", "table", family, "banger"];
    if family == "bridge" {
        args.insert(1, "-t");
    }
    parse(&Nft.run(&args, "").await?).map(Some)
}

/// The transaction: make sure that there is a table, delete it, write it anew.
pub(crate) fn ruleset(install: &Install, guests: &BTreeSet<Slot>) -> String {
    let bridge = &install.bridge;
    let addresses: Vec<String> = guests
        .iter()
        .filter_map(|slot| slot.address(install.subnet))
        .map(|address| address.to_string())
        .collect();
    let mut text = String::from("add table inet banger\ndelete table inet banger\n");
    text.push_str("table inet banger {\n  set guests {\n    type ipv4_addr\n");
    let _ = writeln!(text, "    comment \"{REVISION}\"");
    if !addresses.is_empty() {
        let _ = writeln!(text, "    elements = {{ {} }}", addresses.join(", "));
    }
    let _ = write!(
        text,
        r#"  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr @guests oifname != "{bridge}" masquerade
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "{bridge}" oifname "{bridge}" accept
    oifname "{bridge}" ct state established,related accept
    iifname "{bridge}" ip saddr @guests accept
    iifname "{bridge}" drop
    oifname "{bridge}" drop
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != "{bridge}" accept
    ct state established,related accept
    icmp type echo-request accept
    udp dport 53 accept
    tcp dport 53 accept
    drop
  }}
}}
"#
    );
    text
}

/// Chains and how many rules each has.
const SHAPE: [(&str, usize); 3] = [("forward", 5), ("input", 6), ("postrouting", 1)];

/// The set's elements, if the table has our revision and shape.
fn guests(install: &Install, table: &Value) -> Option<BTreeSet<Slot>> {
    let set = objects(table, "set").find(|s| s["name"] == "guests")?;
    if set["comment"] != REVISION || objects(table, "set").count() != 1 {
        return None;
    }
    if !shaped(table, &SHAPE) {
        return None;
    }
    let Some(elements) = set["elem"].as_array() else {
        return Some(BTreeSet::new());
    };
    elements
        .iter()
        .map(|e| slot(install, e.as_str()?.parse().ok()?))
        .collect()
}

/// Whether the table has exactly these chains with so many rules each.
fn shaped(table: &Value, chains: &[(&str, usize)]) -> bool {
    let rules = |chain| {
        objects(table, "rule")
            .filter(|r| r["chain"] == chain)
            .count()
    };
    objects(table, "chain").count() == chains.len()
        && chains.iter().all(|&(chain, count)| rules(chain) == count)
}

/// The slot of a guest's address.
fn slot(install: &Install, address: Ipv4Addr) -> Option<Slot> {
    let first = u32::from(install.subnet.network()).checked_add(1)?;
    let number = u32::from(address).checked_sub(first)?;
    let slot = Slot::try_from(u16::try_from(number).ok()?).ok()?;
    (slot.address(install.subnet) == Some(address)).then_some(slot)
}

/// Turns forwarding on; never off, since others on the host may rely on it.
fn forward() -> Result<bool, Failure> {
    let on = std::fs::read_to_string(FORWARD).map_err(|e| Failure::os("read", FORWARD, e))?;
    if on.trim() == "1" {
        return Ok(false);
    }
    std::fs::write(FORWARD, "1").map_err(|e| Failure::os("write", FORWARD, e))?;
    Ok(true)
}

fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text)
        .map_err(|e| Failure::later("nft -j", format!("its answer can't be read: {e}")))
}

/// Every object of one kind in `{"nftables": [{kind: object}, …]}`.
fn objects<'v>(answer: &'v Value, kind: &'static str) -> impl Iterator<Item = &'v Value> {
    let all = answer["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter_map(move |object| object.get(kind))
}
