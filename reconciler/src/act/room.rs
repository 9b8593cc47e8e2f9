//! Room for the state directory, and the ballast that is part of it.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use banger_core::api::Quantity;
use banger_core::observed::Presence;
use banger_core::pressure::Room;
use banger_core::seam::StepError;
use rustix::fs::statvfs;

use super::layout::Layout;
use super::shared::Shared;
use super::{ballast, failure};

/// How long a file system may take to say what is free: one whose server is
/// away would hang the loop.
const LIMIT: Duration = Duration::from_secs(2);

impl Shared {
    /// What is free, less what guests wrote that will take room yet.
    pub(super) async fn room(&self) -> Presence<Room> {
        let layout = self.layout.clone();
        let unbacked = self.unbacked.load(Ordering::Relaxed);
        let looking = tokio::task::spawn_blocking(move || read(&layout));
        let state = self.layout.state().display();
        match tokio::time::timeout(LIMIT, looking).await {
            Ok(Ok(Ok(room))) => Presence::Present(less(room, unbacked)),
            Ok(Ok(Err(error))) => Presence::Unknown(format!("{state}: {error}")),
            Ok(Err(panic)) => Presence::Unknown(panic.to_string()),
            Err(_) => Presence::Unknown(format!(
                "{state}: what is free was not told within {} s",
                LIMIT.as_secs()
            )),
        }
    }

    pub(super) async fn ensure_ballast(&self, size: Quantity) -> Result<(), StepError> {
        let layout = self.layout.clone();
        failure::blocking(move || ballast::ensure(&layout, size)).await
    }

    pub(super) async fn release_ballast(&self) -> Result<(), StepError> {
        let layout = self.layout.clone();
        failure::blocking(move || ballast::release(&layout)).await
    }
}

/// With so many bytes taken.
pub(super) fn less(room: Room, taken: u64) -> Room {
    Room {
        free: Quantity::from_bytes(room.free.bytes().saturating_sub(taken)),
        ..room
    }
}

/// The ballast is read first: one that goes in between makes for less room
/// than there is, not for more.
pub(super) fn read(layout: &Layout) -> io::Result<Room> {
    let held = ballast::held(layout)?;
    let found = statvfs(layout.state())?;
    Ok(Room {
        free: Quantity::from_bytes(found.f_bavail.saturating_mul(found.f_frsize)),
        ballast: held,
    })
}
