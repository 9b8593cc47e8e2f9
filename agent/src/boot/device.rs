//! Waiting for block devices. The kernel tells when one appears.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fault::{During, Fault};

/// How long the kernel may take to find a disk.
const DEADLINE: Duration = Duration::from_secs(20);
/// The group of the kernel's own events (udev speaks on another).
const KERNEL_EVENTS: u32 = 1;

/// The kernel's device events, from the moment of [`Devices::listen`].
pub(super) struct Devices {
    events: OwnedFd,
}

impl Devices {
    /// Listens. To be called before the drivers are loaded.
    pub(super) fn listen() -> Result<Self, Fault> {
        let listen = || -> nix::Result<OwnedFd> {
            let events = socket(
                AddressFamily::Netlink,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::NetlinkKObjectUEvent,
            )?;
            bind(events.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_EVENTS))?;
            Ok(events)
        };
        let events = listen().during("listening for devices")?;
        Ok(Self { events })
    }

    /// The path of a block device, once it is there.
    pub(super) fn wait(&self, name: &str) -> Result<PathBuf, Fault> {
        let path = Path::new("/dev").join(name);
        let stage = || format!("waiting for the disk /dev/{name}");
        let start = Instant::now();
        // devtmpfs has the node before the event is sent.
        while !path.exists() {
            let Some(left) = DEADLINE.checked_sub(start.elapsed()) else {
                return Err(Fault::new(
                    stage(),
                    format!("it did not appear within {} s", DEADLINE.as_secs()),
                ));
            };
            self.wait_for_any(left).during(stage())?;
        }
        Ok(path)
    }

    /// Returns when something happened, or the time is up.
    fn wait_for_any(&self, left: Duration) -> io::Result<()> {
        let limit = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut ready = [PollFd::new(&self.events, PollFlags::IN)];
        match poll(&mut ready, Some(&limit)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        // What the events say doesn't matter: /dev does. An overflow is one more.
        let mut event = [0; 4096];
        while recv(self.events.as_raw_fd(), &mut event, MsgFlags::MSG_DONTWAIT).is_ok() {}
        Ok(())
    }
}
