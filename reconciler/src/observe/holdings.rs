//! Everything that the host holds, object by object. Reads only; blocks, apart
//! from the helper's part.

use std::collections::BTreeMap;
use std::io;

use banger_core::api::status::VmHandles;
use banger_core::intent::ImageDigest;
use banger_core::inventory::{Backing, Scratch, StoredImage, VmDirectory};
use banger_core::observed::Presence;
use banger_protocol::VmUid;

use super::files;
use crate::act::layout::Layout;
use crate::image;

/// The files' part of the holdings.
#[derive(Clone, Debug)]
pub struct FileHoldings {
    /// VMs' directories.
    pub directories: Result<BTreeMap<VmUid, VmDirectory>, String>,
    /// Abandoned import and removal directories.
    pub staging: Result<Vec<String>, String>,
    /// The image store.
    pub images: Result<BTreeMap<ImageDigest, StoredImage>, String>,
}

impl FileHoldings {
    /// Reads the state directory.
    pub fn read(layout: &Layout) -> Self {
        let images = layout.images();
        Self {
            directories: directories(layout),
            staging: image::abandoned(&images)
                .map_err(|error| format!("{}: {error}", images.display())),
            images: stored(layout),
        }
    }
}

fn directories(layout: &Layout) -> Result<BTreeMap<VmUid, VmDirectory>, String> {
    let vms = layout.vms();
    let told = |error: io::Error| format!("{}: {error}", vms.display());
    let entries = match std::fs::read_dir(&vms) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(told(error)),
    };
    let mut directories = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(told)?;
        // What isn't named by a uid in its one spelling is nothing of ours.
        let name = entry.file_name();
        let uid: Option<VmUid> = name.to_str().and_then(|name| name.parse().ok());
        let Some(uid) = uid.filter(|uid| name.to_str() == Some(uid.to_string().as_str())) else {
            continue;
        };
        if entry.file_type().map_err(told)?.is_dir() {
            let directory = VmDirectory {
                path: layout.vm(uid).display().to_string(),
                scratch: scratch(layout, uid),
            };
            directories.insert(uid, directory);
        }
    }
    Ok(directories)
}

fn stored(layout: &Layout) -> Result<BTreeMap<ImageDigest, StoredImage>, String> {
    let digests = files::names(&layout.images())?.into_iter().map(ImageDigest);
    let stored = digests.filter(Layout::is_digest).map(|digest| {
        let rootfs = match files::file(&layout.rootfs(&digest)) {
            Presence::Present(file) => Presence::Present(Backing {
                device: file.device,
                inode: file.inode,
            }),
            Presence::Absent => Presence::Absent,
            Presence::Unknown(why) => Presence::Unknown(why),
        };
        let path = layout.image(&digest).display().to_string();
        (digest, StoredImage { path, rootfs })
    });
    Ok(stored.collect())
}

fn scratch(layout: &Layout, uid: VmUid) -> Scratch {
    match std::fs::read(layout.handles(uid)) {
        Ok(bytes) => match serde_json::from_slice::<VmHandles>(&bytes) {
            Ok(handles) => Scratch::Known(Box::new(handles)),
            Err(error) => Scratch::Unreadable(error.to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Scratch::Missing,
        Err(error) => Scratch::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;

    use banger_core::intent::ImageDigest;
    use banger_core::inventory::Scratch;
    use banger_core::observed::Presence;
    use banger_protocol::VmUid;
    use rustix::fs::{FlockOperation, flock};

    use super::FileHoldings;
    use crate::act::layout::Layout;
    use crate::image;

    const UID: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f";

    #[test]
    fn directories_scratch_files_and_leftovers_are_read() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path(), "/run/none", "/home/none");
        let empty = FileHoldings::read(&layout);
        assert!(empty.directories.unwrap().is_empty() && empty.staging.unwrap().is_empty());

        let uid: VmUid = UID.parse().unwrap();
        let foreign = [
            UID.to_uppercase(),
            UID.replace('-', ""),
            "lost+found".into(),
        ];
        for name in foreign {
            fs::create_dir_all(layout.vms().join(name)).unwrap();
        }
        fs::create_dir_all(layout.vm(uid)).unwrap();
        for name in [".import-dead", ".import-busy", ".remove-x", "ab", ".else"] {
            fs::create_dir_all(layout.images().join(name)).unwrap();
        }
        let busy = File::open(layout.images().join(".import-busy")).unwrap();
        flock(&busy, FlockOperation::LockExclusive).unwrap();

        let of = |layout: &Layout| {
            let mut directories = FileHoldings::read(layout).directories.unwrap();
            assert_eq!(directories.len(), 1, "{directories:?}");
            directories.remove(&uid).unwrap().scratch
        };
        assert_eq!(of(&layout), Scratch::Missing);
        fs::write(layout.handles(uid), r#"{"pid": 7, "bootId": "b"}"#).unwrap();
        let Scratch::Known(handles) = of(&layout) else {
            panic!("it is well-formed");
        };
        assert_eq!(handles.pid, Some(7));
        fs::write(layout.handles(uid), r#"{"pid": "#).unwrap();
        assert!(matches!(of(&layout), Scratch::Unreadable(_)));

        let digest = ImageDigest("ab".repeat(32));
        fs::create_dir_all(layout.image(&digest)).unwrap();
        let stored = |layout: &Layout| FileHoldings::read(layout).images.unwrap();
        assert_eq!(stored(&layout).len(), 1, "no digest, no image");
        assert_eq!(stored(&layout)[&digest].rootfs, Presence::Absent);
        fs::write(layout.rootfs(&digest), "").unwrap();
        let found = stored(&layout)[&digest].rootfs.clone();
        let inode = layout.rootfs(&digest).metadata().unwrap().ino();
        assert_eq!(found.present().map(|file| file.inode), Some(inode));

        let staging = FileHoldings::read(&layout).staging.unwrap();
        assert_eq!(staging, [".import-dead", ".remove-x"]);
        for name in staging.iter().map(String::as_str).chain([
            ".import-busy",
            "ab",
            ".remove-/../../vms",
            "../vms",
        ]) {
            image::remove_abandoned(&layout.images(), name).unwrap();
        }
        let images = |name: &str| layout.images().join(name).exists();
        assert!(!images(".import-dead") && !images(".remove-x"));
        assert!(images(".import-busy") && images("ab") && layout.vm(uid).exists());
    }
}
