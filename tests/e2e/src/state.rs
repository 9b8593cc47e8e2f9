//! What an instance leaves in the file system: its lock, its descriptions, and
//! the name of its process.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cache::{Cache, Lock},
    instance::InstanceName,
    process::ProcessName,
};

const KILL_LIMIT: Duration = Duration::from_secs(20);

/// Waits until nobody else changes this instance; held until dropped.
pub(crate) fn lock(cache: &Cache, name: &InstanceName) -> Result<Lock> {
    let directory = cache.instances();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Lock::take(&directory.join(format!("{name}.lock")))
}

/// The process of the instance in this directory, if it runs.
pub(crate) fn running(directory: &Path) -> Result<Option<ProcessName>> {
    let Some(process) = read_json::<ProcessName>(&directory.join("process.json"))? else {
        return Ok(None);
    };
    Ok(process.open()?.is_some().then_some(process))
}

/// Kills the instance's process, if it runs, and waits for its end.
pub(crate) fn kill_process_of(directory: &Path) -> Result<()> {
    if let Some(process) = running(directory)? {
        process
            .kill(KILL_LIMIT)
            .with_context(|| format!("cannot kill QEMU, process {}", process.pid()))?;
    }
    Ok(())
}

/// Removes the instance's directory, if it is there.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a description whole, or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(value)?;
    let part = path.with_extension("part");
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a description; `None` if there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged; remove its directory", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
