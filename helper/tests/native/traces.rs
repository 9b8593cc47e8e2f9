//! What whoever was attached to a tap, or anybody with root's rights, can leave on
//! it (linux/if_tun.h, tc(8)), and that the next VM finds nothing of it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use banger_protocol::Request;
use nix::libc::{self, c_int};
use nix::request_code_read as read_code;
use nix::request_code_write as write_code;

use crate::bench::{attach, ip_link, native, run};
use crate::frames::{LIMIT, arp, frame};
use crate::pool::{claim, ensure, index, release};

const NEEDS: [&str; 3] = ["/sbin/ip", "/sbin/tc", "/dev/net/tun"];
const INT: usize = size_of::<c_int>();
/// `ETHTOOL_GTXCSUM`, `ETHTOOL_GTSO` (linux/ethtool.h).
const OFFLOADS: [u32; 2] = [0x16, 0x1e];

/// How a tap looks to its user, and to who sends to it.
#[derive(Debug, PartialEq, Eq)]
struct Looks {
    header_size: c_int,
    little_endian: c_int,
    send_buffer: c_int,
    offloads: [u32; 2],
    queues: String,
    hears: bool,
}

#[test]
fn the_next_vm_finds_nothing_that_was_set_on_its_tap() {
    let name = "the_next_vm_finds_nothing_that_was_set_on_its_tap";
    native(name, &NEEDS, |bench| {
        bench.changed(&Request::EnsureBridge { ipv6: false }, &[]);
        bench.changed(&ensure(2, 2), &[]);
        let uids = [(); 4].map(|()| bench.uid());
        let tap = index(bench.changed(&claim(uids[0], 1), &[]));
        bench.changed(&claim(uids[1], 2), &[]);
        let mut neighbour = attach("bgr2");
        let new = look("bgr1", &mut neighbour, LIMIT);
        assert!(new.hears, "{new:?}");

        let programs = mark("bgr1");
        let marked = look("bgr1", &mut neighbour, Duration::from_millis(300));
        assert_eq!((marked.header_size, marked.little_endian), (12, 1));
        assert_ne!(marked.offloads, new.offloads);
        assert!(marked.queues.contains("pfifo 77:") && marked.queues.contains("ingress"));
        assert!(!marked.hears, "what filters is persistent");
        assert!(programs.iter().all(|id| is_loaded(*id)));

        bench.changed(&release(uids[0], 1), &[]);
        // It is the only one in the pool.
        assert_eq!(index(bench.changed(&claim(uids[2], 3), &[])), tap);
        assert_eq!(ip_link("bgr3")["ifalias"], uids[2].to_string());
        assert_eq!(look("bgr3", &mut neighbour, LIMIT), new);
        let gone = Instant::now() + LIMIT;
        while programs.iter().any(|id| is_loaded(*id)) {
            assert!(Instant::now() < gone, "a program is still at the tap");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

/// Sets all of it; the ids of the programs that the kernel has for it.
fn mark(name: &str) -> [u32; 2] {
    run(
        "tc",
        &[
            "qdisc", "replace", "dev", name, "root", "handle", "77:", "pfifo", "limit", "5",
        ],
    );
    run("tc", &["qdisc", "add", "dev", name, "ingress"]);
    let tap = attach(name);
    let set = |request: libc::c_ulong, argument: libc::c_ulong| {
        // SAFETY: an open tun descriptor; what an argument points to outlives the call.
        let done = unsafe { libc::ioctl(tap.as_raw_fd(), request, argument) };
        // TUNSETTXFILTER answers how many addresses it matches exactly.
        assert!(done >= 0, "{:?}", std::io::Error::last_os_error());
    };
    let pointer = |at: *const c_int| at as libc::c_ulong;
    // Drops every packet: `ret #0`.
    let mut nothing = libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let filter = libc::sock_fprog {
        len: 1,
        filter: &raw mut nothing,
    };
    let size = size_of::<libc::sock_fprog>();
    set(write_code!(b'T', 213, size), (&raw const filter) as _);
    // One address, not the neighbour's.
    let only: [u8; 10] = [0, 0, 1, 0, 2, 0, 0, 0, 0, 0x77];
    set(write_code!(b'T', 209, INT), only.as_ptr() as _);
    // TUN_F_CSUM and TUN_F_TSO4.
    set(write_code!(b'T', 208, INT), 1 | 2);
    set(write_code!(b'T', 216, INT), pointer(&12));
    set(write_code!(b'T', 220, INT), pointer(&1));
    set(write_code!(b'T', 212, INT), pointer(&4096));
    [224, 225].map(|number| {
        let program = program();
        set(read_code!(b'T', number, INT), pointer(&program.as_raw_fd()));
        id(&program)
    })
}

fn look(name: &str, neighbour: &mut File, limit: Duration) -> Looks {
    let mut tap = attach(name);
    let get = |request: libc::c_ulong| {
        let mut value: c_int = 0;
        // SAFETY: an open tun descriptor, and a pointer that outlives the call.
        let done = unsafe { libc::ioctl(tap.as_raw_fd(), request, &raw mut value) };
        assert_eq!(done, 0, "{:?}", std::io::Error::last_os_error());
        value
    };
    Looks {
        header_size: get(read_code!(b'T', 215, INT)),
        little_endian: get(read_code!(b'T', 221, INT)),
        send_buffer: get(read_code!(b'T', 211, INT)),
        offloads: OFFLOADS.map(|command| offload(name, command)),
        queues: run("tc", &["qdisc", "show", "dev", name]),
        hears: hears(&mut tap, neighbour, limit),
    }
}

/// Whether the tap's user gets what a neighbour sends to everybody.
fn hears(tap: &mut File, neighbour: &mut File, limit: Duration) -> bool {
    let mac = [2, 0xba, 10, 213, 0, 2];
    let until = Instant::now() + limit;
    // Again and again: a port forwards only once its bridge has noticed it.
    while Instant::now() < until {
        neighbour
            .write_all(&arp(mac, mac, [10, 213, 0, 2]))
            .unwrap();
        let answer = Instant::now() + Duration::from_millis(50);
        while let Some(frame) = frame(tap, answer) {
            if frame.len() >= 14 && frame[6..12] == mac {
                return true;
            }
        }
    }
    false
}

fn offload(name: &str, command: u32) -> u32 {
    /// `struct ethtool_value`.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let mut value = Value { command, data: 0 };
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `request` and what it points to outlive the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    assert_eq!(done, 0, "{:?}", std::io::Error::last_os_error());
    value.data
}

/// bpf(2), with the beginning of its attributes.
fn bpf(command: c_int, attributes: &[u64]) -> std::io::Result<OwnedFd> {
    let mut all = [0_u64; 16];
    all[..attributes.len()].copy_from_slice(attributes);
    // SAFETY: zeros are valid attributes, and what they point to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, all.as_ptr(), size_of_val(&all)) };
    match c_int::try_from(fd) {
        // SAFETY: a descriptor that was just made for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Drops every packet: `r0 = 0; exit`, a socket filter.
fn program() -> OwnedFd {
    let code: [u64; 2] = [0xb7, 0x95];
    let (load, filter, length) = (5, 1_u64, code.len() as u64);
    let license = c"GPL";
    let attributes = [
        filter | length << 32,
        code.as_ptr() as u64,
        license.as_ptr() as u64,
    ];
    bpf(load, &attributes).unwrap()
}

fn id(program: &OwnedFd) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()));
    let text = text.unwrap();
    let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
    id.unwrap().trim().parse().unwrap()
}

/// Whether the kernel still has it, which nothing but the tap keeps.
fn is_loaded(id: u32) -> bool {
    let by_id = 13;
    bpf(by_id, &[id.into()]).is_ok()
}
