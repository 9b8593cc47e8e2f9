//! A tap by its descriptor (linux/if_tun.h, Documentation/networking/tuntap.rst).
//!
//! `made -> (configured by netlink) -> persistent`, or `attached -> given to another`.
//! A tap that was made goes away with its descriptor until it is persistent,
//! so that a crash leaves nothing. Only one descriptor can be attached.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc;

use crate::{Failure, ipv6};

mod ioctl {
    //! tun's requests (linux/if_tun.h).
    use nix::libc::{self, c_int};
    use nix::{ioctl_write_int_bad, ioctl_write_ptr_bad, request_code_read, request_code_write};

    ioctl_write_ptr_bad!(
        set_interface,
        request_code_write!(b'T', 202, size_of::<c_int>()),
        libc::ifreq
    );
    ioctl_write_int_bad!(
        set_persistent,
        request_code_write!(b'T', 203, size_of::<c_int>())
    );
    ioctl_write_int_bad!(
        set_owner,
        request_code_write!(b'T', 204, size_of::<c_int>())
    );
    ioctl_write_int_bad!(
        set_group,
        request_code_write!(b'T', 206, size_of::<c_int>())
    );
    ioctl_write_int_bad!(
        set_offload,
        request_code_write!(b'T', 208, size_of::<libc::c_uint>())
    );
    ioctl_write_ptr_bad!(
        set_tx_filter,
        request_code_write!(b'T', 209, size_of::<libc::c_uint>()),
        [u16; 2]
    );
    ioctl_write_ptr_bad!(
        set_send_buffer,
        request_code_write!(b'T', 212, size_of::<c_int>()),
        c_int
    );
    ioctl_write_int_bad!(
        detach_filter,
        request_code_write!(b'T', 214, size_of::<libc::sock_fprog>())
    );
    ioctl_write_ptr_bad!(
        set_header_size,
        request_code_write!(b'T', 216, size_of::<c_int>()),
        c_int
    );
    ioctl_write_ptr_bad!(
        set_little_endian,
        request_code_write!(b'T', 220, size_of::<c_int>()),
        c_int
    );
    ioctl_write_ptr_bad!(
        set_big_endian,
        request_code_write!(b'T', 222, size_of::<c_int>()),
        c_int
    );
    ioctl_write_ptr_bad!(
        set_steering,
        request_code_read!(b'T', 224, size_of::<c_int>()),
        c_int
    );
    ioctl_write_ptr_bad!(
        set_packet_filter,
        request_code_read!(b'T', 225, size_of::<c_int>()),
        c_int
    );
}

/// Fails where the name is taken, instead of attaching to it (linux/if_tun.h).
const IFF_TUN_EXCL: libc::c_int = 0x8000;
/// `struct virtio_net_hdr`, what a tap's packets begin with at first.
const HEADER_SIZE: libc::c_int = 10;

/// An attached tap, with the flags that Firecracker opens it with.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
}

impl Tap {
    /// Makes one, for this user; a taken name is EBUSY.
    pub fn make(name: &str, user: u32) -> Result<Self, Failure> {
        let tap = Self::open(name, IFF_TUN_EXCL)?;
        tap.give(user)?;
        // A port of the bridge, and nobody to talk to by itself.
        ipv6::silence(name)?;
        Ok(tap)
    }

    /// Attaches to one that is there. EBUSY where somebody else is attached.
    /// Where there is none of that name the kernel makes one: the caller looks
    /// again before it relies on it, and it goes away when dropped.
    pub fn attach(name: &str) -> Result<Self, Failure> {
        Self::open(name, 0)
    }

    fn open(name: &str, flags: libc::c_int) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_CLOEXEC)
            .open("/dev/net/tun")
            .map_err(|e| Failure::os("open", "/dev/net/tun", e))?;
        // SAFETY: an all-zero ifreq is a valid one: numbers and bytes only.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // Longest: `tap-pool-65535`, 14 bytes of IFNAMSIZ 16.
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | flags;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: `request` outlives the call, and the kernel copies it.
        unsafe { ioctl::set_interface(file.as_raw_fd(), &raw const request) }
            .map_err(|e| Failure::os("TUNSETIFF", name, e))?;
        Ok(Self {
            file,
            name: name.to_owned(),
        })
    }

    /// Lets this uid attach, in its own group, and nobody else but root. Both,
    /// because whoever was attached could set the group.
    pub fn give(&self, user: u32) -> Result<(), Failure> {
        let fd = self.file.as_raw_fd();
        let object = || format!("{} to uid {user}", self.name);
        // SAFETY: an open tun descriptor and plain numbers, here and below.
        unsafe { ioctl::set_owner(fd, user as libc::c_int) }
            .map_err(|e| Failure::os("TUNSETOWNER", object(), e))?;
        unsafe { ioctl::set_group(fd, user as libc::c_int) }
            .map_err(|e| Failure::os("TUNSETGROUP", object(), e))?;
        Ok(())
    }

    /// Makes it outlive its descriptor.
    pub fn persist(&self) -> Result<(), Failure> {
        // SAFETY: as above.
        unsafe { ioctl::set_persistent(self.file.as_raw_fd(), 1) }
            .map_err(|e| Failure::os("TUNSETPERSIST", self.name.clone(), e))?;
        Ok(())
    }

    /// Undoes all that whoever was attached could set, so that the next one
    /// finds a tap as if it were new.
    pub fn reset(&self) -> Result<(), Failure> {
        let fd = self.file.as_raw_fd();
        let none: libc::c_int = -1;
        let off: libc::c_int = 0;
        let most = libc::c_int::MAX;
        let no_filter = [0u16; 2];
        // SAFETY: an open tun descriptor; the pointers outlive the calls, and
        // have the types that linux/if_tun.h gives.
        let steps = unsafe {
            [
                ("TUNDETACHFILTER", ioctl::detach_filter(fd, 0)),
                ("TUNSETFILTEREBPF", ioctl::set_packet_filter(fd, &none)),
                ("TUNSETSTEERINGEBPF", ioctl::set_steering(fd, &none)),
                ("TUNSETTXFILTER", ioctl::set_tx_filter(fd, &no_filter)),
                ("TUNSETOFFLOAD", ioctl::set_offload(fd, 0)),
                ("TUNSETVNETHDRSZ", ioctl::set_header_size(fd, &HEADER_SIZE)),
                ("TUNSETVNETLE", ioctl::set_little_endian(fd, &off)),
                // EINVAL: this kernel has no such setting.
                (
                    "TUNSETVNETBE",
                    match ioctl::set_big_endian(fd, &off) {
                        Err(Errno::EINVAL) => Ok(0),
                        other => other,
                    },
                ),
                ("TUNSETSNDBUF", ioctl::set_send_buffer(fd, &most)),
            ]
        };
        for (step, done) in steps {
            done.map_err(|e| Failure::os(step, self.name.clone(), e))?;
        }
        self.persist()
    }
}
