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
use super::{ballast, failure, writeback};

/// How long a file system may take to say what is free: one whose server is
/// away would hang the loop.
const LIMIT: Duration = Duration::from_secs(2);

/// Less than that, in bytes, is no reason to have the kernel write, time and again.
const SLIGHT: u64 = 16 << 20;

impl Shared {
    /// What is free, less what will turn out to be taken.
    pub(super) async fn room(&self) -> Presence<Room> {
        self.settled_room()
            .await
            .map_or_else(Presence::Unknown, Presence::Present)
    }

    async fn settled_room(&self) -> Result<Room, String> {
        let seen = self.look().await?;
        if !seen.decides(self.keep_free, self.writeback.asked()) {
            return Ok(seen.room);
        }
        if self.writeback.all(LIMIT).await {
            return Ok(self.look().await?.room);
        }
        Ok(seen.as_if_written())
    }

    async fn look(&self) -> Result<Seen, String> {
        let layout = self.layout.clone();
        let looking = tokio::task::spawn_blocking(move || Seen::now(&layout));
        let state = self.layout.state().display();
        match tokio::time::timeout(LIMIT, looking).await {
            Ok(Ok(seen)) => seen.map_err(|error| format!("{state}: {error}")),
            Ok(Err(panic)) => Err(panic.to_string()),
            Err(_) => Err(format!(
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

/// One look at the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) room: Room,
    /// Bytes, [`writeback::unwritten`].
    pub(super) unwritten: u64,
}

impl Seen {
    /// What is unwritten is read first: what the kernel writes down in between is
    /// counted twice, not never.
    fn now(layout: &Layout) -> io::Result<Self> {
        let unwritten = writeback::unwritten()?;
        let room = read(layout)?;
        Ok(Self { room, unwritten })
    }

    /// Whether guests might have to be paused for what is unwritten. `asked`: the
    /// kernel was asked once to write all.
    pub(super) fn decides(&self, keep_free: u64, asked: bool) -> bool {
        let matters = self.unwritten >= SLIGHT || !asked;
        matters && self.room.free.bytes() < keep_free.saturating_add(self.unwritten)
    }

    pub(super) fn as_if_written(&self) -> Room {
        let free = self.room.free.bytes().saturating_sub(self.unwritten);
        Room {
            free: Quantity::from_bytes(free),
            ..self.room
        }
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
