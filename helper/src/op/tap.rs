//! A VM's tap: on the bridge, its alias the VM's uid, its user the VMM's uid.
//!
//! `absent -> made without persistence -> user, alias, bridge -> persistent`.
//! A crash before the last step leaves nothing: an unfinished tap goes away
//! with its descriptor. An interface of that name without our alias is refused.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use banger_protocol::{Handle, Slot, VmUid};
use netlink_packet_route::link::{InfoKind, LinkMessage};
use nix::libc;
use rtnetlink::LinkUnspec;

use crate::failure::blocking;
use crate::netlink::{Link, Netlink};
use crate::{Done, Failure, Host, Outcome};

mod ioctl {
    //! tun's requests (linux/if_tun.h).
    use nix::libc;
    nix::ioctl_write_ptr_bad!(
        set_interface,
        nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
        libc::ifreq
    );
    nix::ioctl_write_int_bad!(
        set_persistent,
        nix::request_code_write!(b'T', 203, size_of::<libc::c_int>())
    );
    nix::ioctl_write_int_bad!(
        set_owner,
        nix::request_code_write!(b'T', 204, size_of::<libc::c_int>())
    );
}

/// Fails where the name is taken, instead of attaching to it (linux/if_tun.h).
const IFF_TUN_EXCL: libc::c_int = 0x8000;

/// Makes the tap, or puts ours back on the bridge.
pub async fn ensure(host: &Host, uid: VmUid, slot: Slot) -> Done {
    let user = host.vmm_uid(slot)?;
    let name = slot.tap();
    let netlink = Netlink::open()?;
    let Some(bridge) = netlink.link(&host.install.bridge).await? else {
        return Err(Failure::later(
            "bridge",
            format!(
                "{} is not there: ensure the bridge first",
                host.install.bridge
            ),
        ));
    };
    if let Some(link) = netlink.link(&name).await? {
        ours(&link, uid)?;
        let attached = link.up && link.controller == Some(bridge.index);
        if !attached {
            netlink.set(&name, attach(&link, &bridge, uid)).await?;
        }
        return Ok(Outcome::new(!attached, Handle::Tap(link.index)));
    }
    let made = name.clone();
    let tap = blocking("TUNSETIFF", move || make(&made, user)).await?;
    let gone = || Failure::later("RTM_GETLINK", format!("{name} vanished"));
    let link = netlink.link(&name).await?.ok_or_else(gone)?;
    netlink.set(&name, attach(&link, &bridge, uid)).await?;
    // SAFETY: `tap` is an open tun descriptor; the argument is a plain number.
    unsafe { ioctl::set_persistent(tap.as_raw_fd(), 1) }
        .map_err(|e| Failure::os("TUNSETPERSIST", name, e))?;
    Ok(Outcome::Changed(Handle::Tap(link.index)))
}

/// Deletes the tap if its alias is the uid.
pub async fn remove(host: &Host, uid: VmUid, slot: Slot) -> Done {
    host.vmm_uid(slot)?;
    let netlink = Netlink::open()?;
    let Some(link) = netlink.link(&slot.tap()).await? else {
        return Ok(Outcome::Unchanged(Handle::None));
    };
    ours(&link, uid)?;
    Ok(Outcome::new(netlink.delete(&link).await?, Handle::None))
}

/// The VM in a tap's alias.
pub fn owner(link: &Link) -> Option<VmUid> {
    if link.kind != Some(InfoKind::Tun) {
        return None;
    }
    link.alias.as_deref()?.parse().ok()
}

fn ours(link: &Link, uid: VmUid) -> Result<(), Failure> {
    if owner(link) == Some(uid) {
        return Ok(());
    }
    Err(Failure::refused(
        "alias",
        format!(
            "{} is not the tap of {uid}: its alias is `{}`; it stays as it is",
            link.name,
            link.alias.as_deref().unwrap_or("")
        ),
    ))
}

fn attach(link: &Link, bridge: &Link, uid: VmUid) -> LinkMessage {
    LinkUnspec::new_with_index(link.index)
        .alias(uid.to_string())
        .controller(bridge.index)
        .up()
        .build()
}

/// A tap with the flags that Firecracker opens it with; it lives as long as
/// the descriptor until it is made persistent.
fn make(name: &str, user: u32) -> Result<File, Failure> {
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .map_err(|e| Failure::os("open", "/dev/net/tun", e))?;
    // SAFETY: an all-zero ifreq is a valid one: numbers and bytes only.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // Longest: `bgr65535`, 8 bytes of IFNAMSIZ 16.
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | IFF_TUN_EXCL;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: `request` outlives the call, and the kernel copies it.
    unsafe { ioctl::set_interface(tap.as_raw_fd(), &raw const request) }
        .map_err(|e| Failure::os("TUNSETIFF", name, e))?;
    // SAFETY: an open tun descriptor and a plain number.
    unsafe { ioctl::set_owner(tap.as_raw_fd(), user as libc::c_int) }
        .map_err(|e| Failure::os("TUNSETOWNER", format!("{name} to uid {user}"), e))?;
    Ok(tap)
}
