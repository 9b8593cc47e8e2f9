//! Everything that the host holds, object by object. Reads only; blocks, apart
//! from the helper's part.

use std::collections::BTreeMap;
use std::io;

use banger_core::api::status::VmHandles;
use banger_core::inventory::{Scratch, VmDirectory};
use banger_protocol::VmUid;

use crate::act::layout::Layout;
use crate::image;

/// The files' part of the holdings.
#[derive(Clone, Debug)]
pub struct FileHoldings {
    /// VMs' directories.
    pub directories: Result<BTreeMap<VmUid, VmDirectory>, String>,
    /// Abandoned import and removal directories.
    pub staging: Result<Vec<String>, String>,
}

impl FileHoldings {
    /// Reads the state directory.
    pub fn read(layout: &Layout) -> Self {
        let images = layout.images();
        Self {
            directories: directories(layout),
            staging: image::abandoned(&images)
                .map_err(|error| format!("{}: {error}", images.display())),
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
