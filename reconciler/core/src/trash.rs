//! The trash as decisions see it: which disks lie there, what they pin, and
//! which VM a document that appears may bring back.
//!
//! Guarantees: a document brings back a VM only where that VM's own document
//! vanished, or where a person asked for it; a trash that can't be read brings
//! back nothing, and no new VM takes the name of one that may lie there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use banger_protocol::{DiskRole, VmUid};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::{Body, Manifest, Name};
use crate::intent::{ImageDigest, Intents, VmIntent};
use crate::orphans::Orphans;

/// How long a uid is as text.
const UID_LENGTH: usize = 36;

/// An entry of the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trashed {
    /// Names the entry, as long as it is there.
    pub id: String,
    /// The VM that the disks are of.
    pub uid: VmUid,
    /// When it got here ([`stamp`]): for people, and to tell which is newer.
    pub trashed: Timestamp,
    /// The one disk that was replaced; `None` where the VM went as a whole.
    pub disk: Option<DiskRole>,
    /// The VM as it was intended; `None` where no intent was left.
    pub vm: Option<VmIntent>,
    /// The disks that lie here.
    pub disks: Vec<DiskRole>,
    /// What they take of the file system, bytes.
    pub taken: u64,
    /// Why its description can't be read: then `disk` and `vm` say nothing.
    pub unread: Option<String>,
}

impl Trashed {
    /// The VM's name, where it is known.
    pub fn name(&self) -> Option<&Name> {
        self.vm.as_ref().map(VmIntent::name)
    }

    /// The image that a root disk in here lies over. Without it, the disk is worth nothing.
    pub fn pins(&self) -> Option<&ImageDigest> {
        let vm = self.vm.as_ref()?;
        let root = self.disks.contains(&DiskRole::Cow);
        vm.image.as_ref().filter(|_| root)
    }

    /// Whether a root disk lies here that may lie over any image, because
    /// nothing says over which.
    pub fn pins_any(&self) -> bool {
        self.disks.contains(&DiskRole::Cow) && self.vm.is_none()
    }

    /// Why nobody can tell whether it is the VM of this name, where nobody can:
    /// disks lie here, and its description can't be read.
    fn doubt(&self) -> Option<(Name, &str)> {
        let why = self.unread.as_deref().filter(|_| !self.disks.is_empty())?;
        Some((name_in(&self.id)?, why))
    }

    /// The VM that can be had back from here.
    pub fn whole(&self) -> Option<&VmIntent> {
        self.vm.as_ref().filter(|_| self.disk.is_none())
    }
}

/// What a document that appears may bring back: VMs in the trash, and those that
/// the host holds and no intent knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    vms: BTreeMap<Name, VmIntent>,
    /// By name, the entry that may be the VM's, and why that can't be told.
    unread: BTreeMap<Name, (String, String)>,
    orphans: Orphans,
    unknown: Option<String>,
}

impl Shelf {
    /// A trash of which nothing can be told, because of this.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self {
            unknown: Some(why.into()),
            ..Self::default()
        }
    }

    /// What these entries may bring back: of each name what a person wants
    /// back, else the newest if its document vanished. What was deleted by
    /// name stays, and so does what went before it. Where the newest can't be
    /// read, nothing is brought back and nothing new is made.
    pub fn of<'a>(
        entries: impl IntoIterator<Item = &'a Trashed>,
        wanted: &BTreeSet<String>,
        intents: &Intents,
    ) -> Self {
        let mut newest: BTreeMap<Name, (bool, &'a Trashed)> = BTreeMap::new();
        for entry in entries {
            let name = match (entry.whole(), entry.doubt()) {
                (Some(vm), _) => vm.name().clone(),
                (None, Some((name, _))) => name,
                (None, None) => continue,
            };
            if intents.vms.contains_key(&entry.uid) {
                continue;
            }
            let new = (wanted.contains(&entry.id), entry);
            let rank = |(wanted, entry): &(bool, &Trashed)| (*wanted, entry.trashed);
            match newest.get(&name) {
                Some(old) if rank(old) >= rank(&new) => {}
                _ => {
                    newest.insert(name, new);
                }
            }
        }
        let vanished = |vm: &VmIntent| vm.deletion.as_ref().is_some_and(|it| !it.explicit);
        let mut shelf = Self::default();
        for (name, (wanted, entry)) in newest {
            match (entry.whole(), entry.doubt()) {
                (Some(vm), _) if wanted || vanished(vm) => {
                    shelf.vms.insert(name, vm.clone());
                }
                (None, Some((_, why))) => {
                    let told = (entry.id.clone(), why.to_owned());
                    shelf.unread.insert(name, told);
                }
                _ => {}
            }
        }
        shelf
    }

    /// With what the host holds and no intent knows.
    #[must_use]
    pub fn beside(self, orphans: Orphans) -> Self {
        Self { orphans, ..self }
    }

    /// What the host holds and no intent knows.
    pub(crate) const fn orphans(&self) -> &Orphans {
        &self.orphans
    }

    /// The VM that a document of this name brings back.
    pub(crate) fn vm(&self, name: &Name) -> Option<&VmIntent> {
        self.vms.get(name)
    }

    /// The entry that may be the VM of this name, and why that can't be told.
    pub(crate) fn unread(&self, name: &Name) -> Option<&(String, String)> {
        self.unread.get(name)
    }

    /// Why it can't be told what there is.
    pub(crate) fn why_unknown(&self) -> Option<&str> {
        self.unknown
            .as_deref()
            .or_else(|| self.orphans.why_unknown())
    }
}

/// The name that an entry's id carries: `<uid>-<name>-<time>`, and `-<n>` after
/// that where there were several in one second.
fn name_in(id: &str) -> Option<Name> {
    /// `20261128T191426Z`.
    fn is_time(word: &str) -> bool {
        word.len() == 16 && word.as_bytes().get(8) == Some(&b'T') && word.ends_with('Z')
    }
    let (_, rest) = id.split_at_checked(UID_LENGTH)?;
    let (head, tail) = rest.strip_prefix('-')?.rsplit_once('-')?;
    let name = match is_time(tail) {
        true => head,
        false => head.rsplit_once('-').filter(|(_, time)| is_time(time))?.0,
    };
    name.parse().ok()
}

/// A VM's document: as it was last accepted, or else what that must have said.
pub fn document(vm: &VmIntent) -> TrashedDocument {
    if let Some(document) = &vm.document {
        return TrashedDocument {
            file: Some(document.file.clone()),
            text: document.text.clone(),
        };
    }
    let manifest = Manifest {
        metadata: vm.metadata.clone(),
        body: Body::VirtualMachine(vm.written.clone()),
    };
    TrashedDocument {
        file: None,
        text: manifest.to_yaml().unwrap_or_default(),
    }
}

/// A VM's document, to be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrashedDocument {
    /// The file that it stood in, where that is known.
    pub file: Option<PathBuf>,
    /// Its text; all of the file's where it stood there alone.
    pub text: String,
}

/// The images that root disks in the trash lie over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Those of which it is known.
    pub images: BTreeSet<ImageDigest>,
    /// The entry of a root disk that may lie over any: nothing says over which.
    pub any: Option<String>,
}

impl Pins {
    /// Whether a root disk lies over this image, or may.
    pub fn may_hold(&self, digest: &ImageDigest) -> bool {
        self.any.is_some() || self.images.contains(digest)
    }
}

/// The images that these entries pin.
pub fn pinned(entries: &[Trashed]) -> Pins {
    let any = entries.iter().find(|entry| entry.pins_any());
    Pins {
        images: entries.iter().filter_map(Trashed::pins).cloned().collect(),
        any: any.map(|entry| entry.id.clone()),
    }
}

/// The time of a new entry: the wall clock's, and later than that of any which lies
/// there already, however the clock was set meanwhile.
pub fn stamp(now: Timestamp, there: &[Trashed]) -> Timestamp {
    let newest = there.iter().map(|entry| entry.trashed).max();
    let next = newest.map(|newest| newest.checked_add(SignedDuration::from_nanos(1)));
    match next {
        Some(Ok(next)) => next.max(now),
        // Nothing, or nothing later can be written.
        _ => now,
    }
}

/// What has lain for `keep_ms` of running time, and isn't wanted back.
/// `since` has, by entry, the running time at which it was first seen; what
/// isn't in there has not been waited for yet.
pub fn expired<'a>(
    entries: &'a [Trashed],
    since: &BTreeMap<String, u64>,
    running_ms: u64,
    keep_ms: u64,
    intents: &Intents,
) -> Vec<&'a Trashed> {
    let is_due = |entry: &&Trashed| {
        since
            .get(&entry.id)
            .is_some_and(|at| running_ms.saturating_sub(*at) >= keep_ms)
    };
    entries
        .iter()
        .filter(is_due)
        .filter(|entry| !is_awaited(entry, intents))
        .collect()
}

/// Whether a VM is about to take these disks back.
pub fn is_awaited(entry: &Trashed, intents: &Intents) -> bool {
    let vm = intents.vms.get(&entry.uid);
    entry.disk.is_none() && vm.is_some_and(|vm| vm.restoring)
}
