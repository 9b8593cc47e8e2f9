//! A loop device over a disk that came as a descriptor. Its file name field
//! carries `banger/<uid>/<role>`, which only root can write, and its backing
//! file is known by device and inode.
//!
//! `free -> LOOP_CONFIGURE with tag -> unchanged -> LOOP_CLR_FD -> observed gone`
//!
//! The kernel answers a detach of a device in use with success and keeps it
//! bound until the last close, so a removal is believed only once sysfs shows
//! the device unbound.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use banger_protocol::{DiskRole, Handle, LoopNumber, VmUid};
use nix::errno::Errno;
use nix::libc;

use crate::descriptor::{Access, check};
use crate::failure::blocking;
use crate::{Done, Failure, Host, Outcome};

mod ioctl {
    //! Requests and structures of linux/loop.h.
    pub(super) const LO_FLAGS_READ_ONLY: u32 = 1;
    pub(super) const LO_FLAGS_DIRECT_IO: u32 = 16;

    #[repr(C)]
    #[derive(Clone, Copy)]
    pub(super) struct LoopInfo64 {
        pub(super) device: u64,
        pub(super) inode: u64,
        pub(super) rdevice: u64,
        pub(super) offset: u64,
        pub(super) size_limit: u64,
        pub(super) number: u32,
        pub(super) encrypt_type: u32,
        pub(super) encrypt_key_size: u32,
        pub(super) flags: u32,
        pub(super) file_name: [u8; 64],
        pub(super) crypt_name: [u8; 64],
        pub(super) encrypt_key: [u8; 32],
        pub(super) init: [u64; 2],
    }

    #[repr(C)]
    pub(super) struct LoopConfig {
        pub(super) fd: u32,
        pub(super) block_size: u32,
        pub(super) info: LoopInfo64,
        pub(super) reserved: [u64; 8],
    }

    nix::ioctl_none_bad!(get_free, 0x4C82);
    nix::ioctl_write_ptr_bad!(configure, 0x4C0A, LoopConfig);
    nix::ioctl_read_bad!(get_status, 0x4C05, LoopInfo64);
    nix::ioctl_none_bad!(clear, 0x4C01);
}

/// A loop device with our tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// `/dev/loopN`.
    pub device: LoopNumber,
    /// From the tag.
    pub uid: VmUid,
    /// From the tag.
    pub role: DiskRole,
    /// Device number of the backing file's file system.
    pub backing_device: u64,
    /// Inode of the backing file.
    pub backing_inode: u64,
}

/// How often a free device is asked for while others take them first.
const ATTEMPTS: usize = 32;
/// How long a removal waits for other openers (a probe of udev's) to let go.
const PATIENCE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(10);

/// Attaches the file, or finds it attached.
pub async fn ensure(host: &Host, uid: VmUid, role: DiskRole, disk: OwnedFd) -> Done {
    let access = if role.read_only() {
        Access::Read
    } else {
        Access::ReadWrite
    };
    let stat = check(host, &disk, role.as_str(), access)?;
    let quota = 3 * usize::from(host.install.slots);
    blocking("LOOP_CONFIGURE", move || {
        let known = tagged()?;
        if let Some(found) = known.iter().find(|l| (l.uid, l.role) == (uid, role)) {
            if (found.backing_device, found.backing_inode) == (stat.st_dev, stat.st_ino) {
                return Ok(Outcome::Unchanged(Handle::Loop(found.device)));
            }
            return Err(Failure::refused(
                "tag",
                format!(
                    "{} is already the {} disk of {uid}, over another file: remove it first",
                    found.device.path(),
                    role.as_str()
                ),
            ));
        }
        if known.len() >= quota {
            return Err(Failure::later(
                "quota",
                format!("{quota} loop devices are in use"),
            ));
        }
        let device = attach(uid, role, disk.as_raw_fd())?;
        Ok(Outcome::Changed(Handle::Loop(device)))
    })
    .await
}

/// Detaches the device if the tag is the expected one, and sees it gone.
pub async fn remove(uid: VmUid, role: DiskRole, device: LoopNumber) -> Done {
    let found = blocking("LOOP_GET_STATUS64", move || status(device)).await?;
    let Some(found) = found else {
        return Ok(Outcome::Unchanged(Handle::None));
    };
    if (found.uid, found.role) != (uid, role) {
        return Err(Failure::refused(
            "tag",
            format!(
                "{} is the {} disk of {}, not the {} disk of {uid}",
                device.path(),
                found.role.as_str(),
                found.uid,
                role.as_str()
            ),
        ));
    }
    // With a holder the detach would only be promised, for the last close.
    if holders(device)? {
        return Err(busy(device, "a device-mapper device stands on it"));
    }
    blocking("LOOP_CLR_FD", move || {
        let node = open(device)?;
        // Once more through the very descriptor that detaches.
        if read(&node, device)? != Some(found) {
            return Ok(());
        }
        // SAFETY: an open descriptor; the request takes no argument.
        match unsafe { ioctl::clear(node.as_raw_fd()) } {
            Ok(_) | Err(Errno::ENXIO) => Ok(()),
            Err(e) => Err(Failure::os("LOOP_CLR_FD", device.path(), e)),
        }
    })
    .await?;
    // The kernel has no event for the last close of a block device.
    let gone = async {
        while blocking("LOOP_GET_STATUS64", move || status(device)).await? == Some(found) {
            tokio::time::sleep(STEP).await;
        }
        Ok(Outcome::Changed(Handle::None))
    };
    match tokio::time::timeout(PATIENCE, gone).await {
        Ok(done) => done,
        Err(_) => Err(busy(device, "another process has it open")),
    }
}

/// Every loop device with our tag.
pub fn tagged() -> Result<Vec<Tagged>, Failure> {
    let list = |e: io::Error| Failure::os("readdir", "/sys/block", e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/block").map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        let number = name
            .to_str()
            .and_then(|n| n.strip_prefix("loop")?.parse().ok());
        if let Some(device) = number.map(LoopNumber)
            && let Some(tagged) = status(device)?
        {
            found.push(tagged);
        }
    }
    found.sort_by_key(|l| l.device);
    Ok(found)
}

/// The tagged device under a role, if there is one.
pub fn of(uid: VmUid, role: DiskRole) -> Result<Option<Tagged>, Failure> {
    Ok(tagged()?
        .into_iter()
        .find(|l| (l.uid, l.role) == (uid, role)))
}

/// The tag on one device; `None` where it is unbound or not ours.
pub fn status(device: LoopNumber) -> Result<Option<Tagged>, Failure> {
    if !bound(device)? {
        return Ok(None);
    }
    read(&open(device)?, device)
}

/// The tag on an open device.
fn read(node: &File, device: LoopNumber) -> Result<Option<Tagged>, Failure> {
    let mut info = empty();
    // SAFETY: `info` is the structure that this request fills.
    match unsafe { ioctl::get_status(node.as_raw_fd(), &raw mut info) } {
        Ok(_) => {}
        Err(Errno::ENXIO) => return Ok(None),
        Err(e) => return Err(Failure::os("LOOP_GET_STATUS64", device.path(), e)),
    }
    Ok(parse_tag(&info.file_name).map(|(uid, role)| Tagged {
        device,
        uid,
        role,
        backing_device: info.device,
        backing_inode: info.inode,
    }))
}

/// `banger/<uid>/<role>`: 48 bytes of 64 at most.
pub(crate) fn tag(uid: VmUid, role: DiskRole) -> String {
    format!("banger/{uid}/{}", role.as_str())
}

/// Reads a tag; anything that isn't exactly one is not ours.
pub(crate) fn parse_tag(field: &[u8]) -> Option<(VmUid, DiskRole)> {
    let text = field.split(|&b| b == 0).next()?;
    let mut parts = std::str::from_utf8(text).ok()?.split('/');
    let (mark, uid, role) = (parts.next()?, parts.next()?, parts.next()?);
    let role = [DiskRole::Base, DiskRole::Cow, DiskRole::Work]
        .into_iter()
        .find(|r| r.as_str() == role)?;
    let uid: VmUid = uid.parse().ok()?;
    let exact = mark == "banger" && parts.next().is_none() && text == tag(uid, role).as_bytes();
    exact.then_some((uid, role))
}

fn attach(uid: VmUid, role: DiskRole, disk: RawFd) -> Result<LoopNumber, Failure> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .map_err(|e| Failure::os("open", "/dev/loop-control", e))?;
    let mut info = empty();
    for (to, from) in info.file_name.iter_mut().zip(tag(uid, role).bytes()) {
        *to = from;
    }
    // Several VMs read one image: it stays in the page cache. The other disks
    // have one reader, whose own cache is enough; where the file system can't,
    // the kernel falls back by itself.
    info.flags = if role.read_only() {
        ioctl::LO_FLAGS_READ_ONLY
    } else {
        ioctl::LO_FLAGS_DIRECT_IO
    };
    for _ in 0..ATTEMPTS {
        // SAFETY: an open descriptor of the loop control device.
        let free = unsafe { ioctl::get_free(control.as_raw_fd()) }
            .map_err(|e| Failure::os("LOOP_CTL_GET_FREE", "/dev/loop-control", e))?;
        let device = LoopNumber(free.unsigned_abs());
        let node = OpenOptions::new()
            .read(true)
            .write(!role.read_only())
            .open(device.path())
            .map_err(|e| Failure::os("open", device.path(), e))?;
        let config = ioctl::LoopConfig {
            fd: disk.unsigned_abs(),
            block_size: 0,
            info,
            reserved: [0; 8],
        };
        // SAFETY: `config` is the structure that this request reads, and the
        // disk's descriptor outlives the call.
        match unsafe { ioctl::configure(node.as_raw_fd(), &raw const config) } {
            Ok(_) => return Ok(device),
            // Another process was faster.
            Err(Errno::EBUSY) => {}
            Err(e) => return Err(Failure::os("LOOP_CONFIGURE", device.path(), e)),
        }
    }
    Err(Failure::os(
        "LOOP_CONFIGURE",
        "every free loop device was taken by others",
        Errno::EBUSY,
    ))
}

fn open(device: LoopNumber) -> Result<File, Failure> {
    File::open(device.path()).map_err(|e| Failure::os("open", device.path(), e))
}

/// Whether the device has a backing file, without opening it.
fn bound(device: LoopNumber) -> Result<bool, Failure> {
    let path = format!("/sys/block/loop{}/loop", device.0);
    Path::new(&path)
        .try_exists()
        .map_err(|e| Failure::os("stat", path, e))
}

fn holders(device: LoopNumber) -> Result<bool, Failure> {
    let path = format!("/sys/block/loop{}/holders", device.0);
    match std::fs::read_dir(&path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Failure::os("readdir", path, e)),
    }
}

fn busy(device: LoopNumber, why: &str) -> Failure {
    Failure::os(
        "LOOP_CLR_FD",
        format!("{}: {why}", device.path()),
        io::Error::from_raw_os_error(libc::EBUSY),
    )
}

const fn empty() -> ioctl::LoopInfo64 {
    ioctl::LoopInfo64 {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    }
}
