//! Room for the state directory, and the ballast that is part of it.

use std::io;
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
    pub(super) async fn room(&self) -> Presence<Room> {
        let layout = self.layout.clone();
        let looking = tokio::task::spawn_blocking(move || {
            read(&layout).map_err(|error| format!("{}: {error}", layout.state().display()))
        });
        match tokio::time::timeout(LIMIT, looking).await {
            Ok(Ok(Ok(room))) => Presence::Present(room),
            Ok(Ok(Err(why))) => Presence::Unknown(why),
            Ok(Err(panic)) => Presence::Unknown(panic.to_string()),
            Err(_) => Presence::Unknown(format!(
                "{}: what is free was not told within {} s",
                self.layout.state().display(),
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
