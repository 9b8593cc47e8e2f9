//! Which MAC and address belong to which tap: a guest's frames pass only if
//! they carry its slot's. Everything follows from the slot, so the table is
//! the same for every set of guests and is written once per boot.
//!
//! IPv6, VLAN tags and other protocols of a guest are dropped with the rest:
//! no address of theirs could be checked.

use std::fmt::Write as _;

use banger_protocol::{Install, Slot};

use super::{objects, shaped, table};
use crate::Failure;

/// Raised with every change of the rules.
const REVISION: u32 = 1;
const SHAPE: [(&str, usize); 1] = [("ports", 4)];

/// Whether the table stands as [`ruleset`] writes it for this installation.
pub(super) async fn stand(install: &Install) -> Result<bool, Failure> {
    let Some(table) = table("bridge").await? else {
        return Ok(false);
    };
    let marked = objects(&table, "set")
        .any(|set| set["name"] == "seats" && set["comment"] == comment(install).as_str());
    Ok(marked && shaped(&table, &SHAPE))
}

/// The transaction that writes it.
pub(super) fn ruleset(install: &Install) -> String {
    let mut text = String::from("add table bridge banger\ndelete table bridge banger\n");
    text.push_str("table bridge banger {\n  set seats {\n");
    text.push_str("    typeof iifname . ether saddr . ip saddr\n");
    let _ = writeln!(text, "    comment \"{}\"", comment(install));
    text.push_str("    elements = {\n");
    for slot in (1..=install.slots).filter_map(|n| Slot::try_from(n).ok()) {
        if let (Some(address), Some(mac)) = (slot.address(install.subnet), slot.mac(install.subnet))
        {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            let _ = writeln!(text, "      \"{}\" . {mac} . {address},", slot.tap());
        }
    }
    text.push_str(
        r#"    }
  }
  chain ports {
    type filter hook prerouting priority filter; policy accept;
    iifname != "bgr*" accept
    ether type ip iifname . ether saddr . ip saddr @seats accept
    ether type arp iifname . ether saddr . arp saddr ip @seats accept
    drop
  }
}
"#,
    );
    text
}

/// What the elements follow from.
fn comment(install: &Install) -> String {
    format!(
        "banger seats {REVISION}: {} in {}",
        install.slots, install.subnet
    )
}
