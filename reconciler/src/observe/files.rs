//! The files that there are in the state directory.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use banger_core::intent::ImageDigest;
use banger_core::observed::Presence;
use banger_core::record::VmRecord;
use banger_protocol::VmUid;

use crate::act::layout::Layout;
use crate::act::record;

/// A file, with what a loop device over it is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// In bytes.
    pub length: u64,
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// The files of one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmFiles {
    /// `root.cow`.
    pub cow: Presence<OwnFile>,
    /// `work.ext4`.
    pub work: Presence<OwnFile>,
    /// Whether the guest announced its end.
    pub leaving: bool,
    /// What is written beside the disks.
    pub record: Option<Arc<VmRecord>>,
}

/// The state directory; each part known or not on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFiles {
    /// VMs with a directory.
    pub vms: Result<BTreeMap<VmUid, VmFiles>, String>,
    /// Imported images with their root file systems.
    pub images: Result<BTreeMap<ImageDigest, Presence<OwnFile>>, String>,
}

impl StateFiles {
    /// Reads the directory. Blocks. Where VMs are `known` to have had disks
    /// there, one without their directory isn't empty: it is another one, such
    /// as a mount point with nothing mounted.
    pub fn read(layout: &Layout, known: bool) -> Self {
        let vms = layout.vms();
        let images = layout.images();
        let there = match vms.try_exists() {
            Ok(false) if known => Err(format!(
                "{} is gone, and VMs had their disks there: mount its file system, or make the \
                 directory",
                vms.display()
            )),
            // Reading it tells more.
            Ok(_) | Err(_) => Ok(()),
        };
        Self {
            vms: there.and_then(|()| names(&vms)).map(|names| {
                let uids = names.iter().filter_map(|name| name.parse().ok());
                uids.map(|uid| (uid, vm(layout, uid))).collect()
            }),
            images: names(&images).map(|names| {
                names
                    .into_iter()
                    .map(ImageDigest)
                    .filter(Layout::is_digest)
                    .map(|digest| {
                        let rootfs = file(&layout.rootfs(&digest));
                        (digest, rootfs)
                    })
                    .filter(|(_, rootfs)| !rootfs.is_absent())
                    .collect()
            }),
        }
    }
}

fn vm(layout: &Layout, uid: VmUid) -> VmFiles {
    let leaving = layout.leaving(uid);
    let read = leaving.try_exists().map_err(|error| (leaving, error));
    let read = read.and_then(|leaving| {
        let record = record::read(layout, uid);
        Ok((
            leaving,
            record.map_err(|error| (layout.record(uid), error))?,
        ))
    });
    match read {
        Ok((leaving, record)) => VmFiles {
            cow: file(&layout.cow(uid)),
            work: file(&layout.work(uid)),
            leaving,
            record: record.map(Arc::new),
        },
        // An announced end must not be taken for a crash: nothing of this VM
        // is decided until its directory can be read.
        Err((path, error)) => {
            let why = format!("{}: {error}", path.display());
            VmFiles {
                cow: Presence::Unknown(why.clone()),
                work: Presence::Unknown(why),
                leaving: false,
                record: None,
            }
        }
    }
}

pub(super) fn file(path: &Path) -> Presence<OwnFile> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Presence::Present(OwnFile {
            length: found.len(),
            device: found.dev(),
            inode: found.ino(),
        }),
        Ok(_) => Presence::Unknown(format!("{} is not a regular file", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Presence::Absent,
        Err(error) => Presence::Unknown(format!("{}: {error}", path.display())),
    }
}

/// A directory that isn't there is empty: it is made with its first entry.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, String> {
    let told = |error: io::Error| format!("{}: {error}", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(told(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(told)?.file_name();
        // What isn't text is nothing of ours.
        names.extend(name.into_string());
    }
    Ok(names)
}
