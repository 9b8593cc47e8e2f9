//! What dmsetup(8) prints, read back. Foreign devices are kept, so that a name
//! that is taken is seen; lines that aren't understood say nothing.

use std::collections::BTreeSet;

use banger_protocol::inventory::DmPart;
use banger_protocol::{LoopNumber, Sectors, VmUid};

/// Major number of loop devices (Documentation/admin-guide/devices.txt).
const LOOP_MAJOR: &str = "7:";

/// One device-mapper device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its dm UUID; empty where it has none.
    pub uuid: String,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Length of its live table.
    pub size: Sectors,
    /// A snapshot that is full or invalid.
    pub overflow: bool,
    /// Loop devices in its table.
    pub loops: BTreeSet<LoopNumber>,
}

impl Device {
    /// `/dev/dm-N`.
    pub fn node(&self) -> String {
        format!("/dev/dm-{}", self.minor)
    }

    /// `major:minor`, as tables refer to it.
    pub fn number(&self) -> String {
        format!("{}:{}", self.major, self.minor)
    }

    /// Whether it carries this VM's UUID for this part.
    pub fn is(&self, uid: VmUid, part: DmPart) -> bool {
        self.uuid == super::uuid(uid, part)
    }

    /// VM and part from its UUID, if it is ours.
    pub fn ours(&self) -> Option<(VmUid, DmPart)> {
        let rest = self.uuid.strip_prefix("BANGER-")?;
        let (uid, part) = rest.rsplit_once('-')?;
        let uid: VmUid = uid.parse().ok()?;
        let part = match part {
            "origin" => DmPart::Origin,
            "root" => DmPart::Root,
            _ => return None,
        };
        self.is(uid, part).then_some((uid, part))
    }

    /// The VM in its UUID.
    pub fn uid(&self) -> Option<VmUid> {
        self.ours().map(|(uid, _)| uid)
    }
}

/// What dmsetup prints where there is nothing to list.
const NONE: &str = "No devices found";

/// Reads `dmsetup info -c --separator '|' -o name,uuid,major,minor`.
/// A line that can't be read fails the whole: a device that is left out would
/// pass for one that isn't there. The error is that line.
pub(super) fn devices(text: &str) -> Result<Vec<Device>, String> {
    text.lines()
        .filter(|line| *line != NONE && !line.trim().is_empty())
        .map(|line| device(line).ok_or_else(|| line.to_owned()))
        .collect()
}

fn device(line: &str) -> Option<Device> {
    // A foreign name may hold the separator; the numbers stand last.
    let mut parts = line.rsplitn(4, '|');
    let minor = parts.next()?.trim().parse().ok()?;
    let major = parts.next()?.trim().parse().ok()?;
    let uuid = parts.next()?.trim().to_owned();
    let name = parts.next()?.trim().to_owned();
    Some(Device {
        name,
        uuid,
        major,
        minor,
        size: Sectors(0),
        overflow: false,
        loops: BTreeSet::new(),
    })
}

/// Adds what `dmsetup table` and `dmsetup status` say of every device.
pub(super) fn fill(devices: &mut [Device], tables: &str, states: &str) {
    for line in tables.lines() {
        let Some((device, target)) = split(devices, line) else {
            continue;
        };
        let mut words = target.split_whitespace();
        let (start, length) = (number(words.next()), number(words.next()));
        device.size = device.size.max(Sectors(start + length));
        let below = words.filter_map(|w| w.strip_prefix(LOOP_MAJOR)?.parse().ok());
        device.loops.extend(below.map(LoopNumber));
    }
    for line in states.lines() {
        if let Some((device, state)) = split(devices, line) {
            let mut words = state.split_whitespace().skip(2);
            device.overflow |= words.next() == Some("snapshot")
                && matches!(words.next(), Some("Overflow" | "Invalid" | "Merge"));
        }
    }
}

/// Whether two tables say the same, whatever the spacing.
pub(super) fn same(a: &str, b: &str) -> bool {
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .filter(|line: &Vec<String>| !line.is_empty())
            .collect()
    };
    words(a) == words(b)
}

fn split<'d, 'l>(devices: &'d mut [Device], line: &'l str) -> Option<(&'d mut Device, &'l str)> {
    let (name, rest) = line.split_once(": ")?;
    Some((devices.iter_mut().find(|d| d.name == name)?, rest))
}

fn number(word: Option<&str>) -> u64 {
    word.and_then(|w| w.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const UID: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f";

    #[test]
    fn what_dmsetup_prints_is_read_back() {
        let info = format!(
            "banger-{UID}-root|BANGER-{UID}-root|253|1\nbanger-{UID}-origin|BANGER-{UID}-origin|253|0\n\
             od|d||253|7\n"
        );
        let mut found = devices(&info).unwrap();
        let tables = format!(
            "banger-{UID}-origin: 0 100 linear 7:3 0\nbanger-{UID}-origin: 100 28 zero \n\
             banger-{UID}-root: 0 128 snapshot 253:0 7:4 PO 8\n"
        );
        let states = format!(
            "banger-{UID}-origin: 0 100 linear \nbanger-{UID}-root: 0 128 snapshot Overflow\n"
        );
        fill(&mut found, &tables, &states);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].ours(), Some((UID.parse().unwrap(), DmPart::Root)));
        assert_eq!(found[0].size, Sectors(128));
        assert_eq!(found[0].loops, BTreeSet::from([LoopNumber(4)]));
        assert!(found[0].overflow && !found[1].overflow);
        assert_eq!(found[1].size, Sectors(128));
        assert_eq!(found[1].loops, BTreeSet::from([LoopNumber(3)]));
        assert_eq!((found[2].name.as_str(), found[2].ours()), ("od|d", None));
        assert_eq!(found[1].node(), "/dev/dm-0");
    }

    #[test]
    fn no_devices_is_an_empty_list() {
        assert_eq!(devices("No devices found\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_no_absent_device() {
        let text = format!("banger-{UID}-root|BANGER-{UID}-root|253|1\nbanger-x|y|253|?\n");
        assert_eq!(devices(&text), Err("banger-x|y|253|?".to_owned()));
    }

    #[test]
    fn tables_are_compared_by_words() {
        assert!(same("0 8 zero \n", "0 8 zero\n"));
        assert!(!same("0 8 zero", "0 16 zero"));
    }
}
