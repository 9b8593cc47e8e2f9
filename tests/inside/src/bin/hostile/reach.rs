//! What isn't the VMM's, tried one by one from outside its jail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, anyhow, ensure};
use banger_protocol::install;
use nix::libc;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, linkat, makedev, mknodat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::{Outcome, Reach, is_only, jail_of, status};

/// All that it may write in its jail: nothing of it is another's, or stays.
const WRITABLE: [&str; 13] = [
    "dev",
    "dev/kvm",
    "dev/net",
    "dev/net/tun",
    "dev/urandom",
    "dev/userfaultfd",
    "rootdrive",
    "run",
    "s",
    "s/fc.sock",
    "s/metrics",
    "s/v.sock",
    "s/v.sock_1024",
];

type Try = Box<dyn Fn() -> io::Result<()>>;

struct Attempt {
    what: String,
    /// The same on what is its own.
    own: Option<Try>,
    other: Try,
}

impl Attempt {
    fn new(what: impl Into<String>, other: Try) -> Self {
        let what = what.into();
        let own = None;
        Self { what, own, other }
    }

    fn with(self, own: Try) -> Self {
        let own = Some(own);
        Self { own, ..self }
    }

    /// Root must succeed, the VMM must be refused for who it is.
    fn make(self, root: bool) -> Outcome {
        let tried = || {
            if let Some(own) = &self.own {
                own().context("it fails on its own as well, and says nothing")?;
            }
            match ((self.other)(), root) {
                (Ok(()), true) => Ok(()),
                (Err(error), true) => Err(anyhow!(error).context("root can't do it either")),
                (Ok(()), false) => Err(anyhow!("it may")),
                (Err(error), false) => match error.kind() {
                    io::ErrorKind::PermissionDenied => Ok(()),
                    _ => Err(anyhow!(error).context("it isn't refused for who it is")),
                },
            }
        };
        let result = tried();
        (self.what, result)
    }
}

pub(super) fn run(reach: &Reach) -> Result<Vec<Outcome>> {
    let root = rustix::process::geteuid().is_root();
    let mut attempts = disks(reach);
    attempts.extend(files(reach));
    attempts.extend(sockets(reach));
    attempts.extend(processes(reach)?);
    attempts.extend(powers(reach)?);
    let made = attempts.into_iter().map(|attempt| attempt.make(root));
    let mut outcomes: Vec<Outcome> = made.collect();
    if !root {
        let account = status(&reach.pid.to_string(), "Uid:")?;
        let account = account.split_whitespace().next().unwrap_or_default();
        outcomes.push(("no more than its account".into(), is_only(account)));
        outcomes.push(("all that it may write".into(), writable(reach.pid)));
    }
    Ok(outcomes)
}

/// Devices and files that hold what the other's guest wrote.
fn disks(reach: &Reach) -> Vec<Attempt> {
    let (jail, other, victim) = (jail_of(reach.pid), jail_of(reach.victim_pid), reach.victim);
    let mut attempts = vec![
        Attempt::new(
            "a drive in the other's jail",
            read(format!("{other}/rootdrive")),
        )
        .with(write(format!("{jail}/rootdrive"))),
        Attempt::new(
            "the other's dm device",
            read(format!("/dev/mapper/banger-{victim}-root")),
        ),
        Attempt::new(
            "the device below it",
            read(format!("/dev/mapper/banger-{victim}-origin")),
        ),
        Attempt::new(
            "the other's copy-on-write file",
            read(format!("/var/lib/banger/vms/{victim}/root.cow")),
        ),
    ];
    for device in &reach.victim_loop {
        attempts.push(Attempt::new(
            format!("the other's {device}"),
            read(device.clone()),
        ));
    }
    attempts
}

/// Places of banger's and of the other's.
fn files(reach: &Reach) -> Vec<Attempt> {
    let (jail, other, victim) = (jail_of(reach.pid), jail_of(reach.victim_pid), reach.victim);
    let group = |file: &str| {
        let path = format!("/sys/fs/cgroup/banger.slice/{}/{file}", victim.unit());
        (format!("the other's {file}"), write(path))
    };
    let mut attempts = vec![
        Attempt::new("the other's jail", list(other)).with(list(jail)),
        Attempt::new(
            "the other's jail by its path",
            list(format!("/var/lib/banger-helper/jail/firecracker/{victim}")),
        ),
        Attempt::new(
            "the jails",
            list("/var/lib/banger-helper/jail/firecracker".into()),
        ),
        Attempt::new("the state directory", list("/var/lib/banger".into())),
        Attempt::new("the database", read("/var/lib/banger/banger.db".into())),
        Attempt::new(
            "the directory of all sockets",
            list("/run/banger/vms".into()),
        ),
        // It may append to its own, by the descriptor that it was given.
        Attempt::new(
            "its own log by the way of its descriptor",
            read(format!("/proc/{}/fd/1", reach.pid)),
        )
        .with(list(format!("/proc/{}/fd", reach.pid))),
        Attempt::new("the accounts of the host", read("/etc/shadow".into())),
    ];
    attempts.extend(["cgroup.procs", "memory.max"].map(|file| {
        let (what, write) = group(file);
        Attempt::new(what, write)
    }));
    attempts
}

fn sockets(reach: &Reach) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for socket in ["fc.sock", "v.sock", "v.sock_1024"] {
        let own = format!("{}/s/{socket}", jail_of(reach.pid));
        let by_name = format!("/run/banger/vms/{}/{socket}", reach.victim);
        let by_jail = format!("{}/s/{socket}", jail_of(reach.victim_pid));
        for (path, way) in [(by_name, "name"), (by_jail, "jail")] {
            let what = format!("the other's {socket} by its {way}");
            attempts.push(Attempt::new(what, connect(path)).with(connect(own.clone())));
        }
    }
    for socket in [install::HELPER_SOCKET, install::DAEMON_SOCKET] {
        attempts.push(Attempt::new(socket, connect(socket.into())));
    }
    attempts
}

fn processes(reach: &Reach) -> Result<Vec<Attempt>> {
    let pid = |pid: u32| {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        raw.with_context(|| format!("{pid} is no pid"))
    };
    let (own, other) = (pid(reach.pid)?, pid(reach.victim_pid)?);
    let signal = |pid| boxed(move || Ok(rustix::process::test_kill_process(pid)?));
    let memory = |pid: Pid| read(format!("/proc/{}/mem", pid.as_raw_nonzero()));
    Ok(vec![
        Attempt::new("a signal to the other", signal(other)).with(signal(own)),
        Attempt::new("the other's memory by ptrace(2)'s leave", vm_read(other)).with(vm_read(own)),
        Attempt::new("the other's memory as a file", memory(other)).with(memory(own)),
        Attempt::new("a descriptor of the other's", steal(other)).with(steal(own)),
    ])
}

/// What would make more of its account, or of its jail.
fn powers(reach: &Reach) -> Result<Vec<Attempt>> {
    let jail = File::open(jail_of(reach.pid)).context("its own jail")?;
    let node = |kind: FileType| -> Result<Try> {
        let jail = jail.try_clone()?;
        Ok(boxed(move || {
            mknodat(&jail, "probe", kind, Mode::RUSR, makedev(7, 0))?;
            Ok(rustix::fs::unlinkat(&jail, "probe", AtFlags::empty())?)
        }))
    };
    let link = |from: &'static str| -> Result<Try> {
        let jail = jail.try_clone()?;
        Ok(boxed(move || {
            linkat(&jail, from, &jail, "probe", AtFlags::empty())?;
            Ok(rustix::fs::unlinkat(&jail, "probe", AtFlags::empty())?)
        }))
    };
    Ok(vec![
        Attempt::new("the other's tap", attach(reach.victim_tap.clone()))
            .with(attach(reach.tap.clone())),
        Attempt::new("a device node in its jail", node(FileType::BlockDevice)?)
            .with(node(FileType::Fifo)?),
        Attempt::new("a hard link to a file of root's", link("kernel")?).with(link("rootdrive")?),
        Attempt::new(
            "root's account",
            boxed(|| Ok(nix::unistd::seteuid(0.into())?)),
        ),
    ])
}

fn boxed(attempt: impl Fn() -> io::Result<()> + 'static) -> Try {
    Box::new(attempt)
}

fn open(path: String, write: bool) -> Try {
    boxed(move || {
        let mut how = OpenOptions::new();
        how.read(!write || path.ends_with("drive")).write(write);
        // Nothing that it opens may make it wait.
        how.custom_flags(libc::O_NONBLOCK).open(&path).map(drop)
    })
}

fn read(path: String) -> Try {
    open(path, false)
}

fn write(path: String) -> Try {
    open(path, true)
}

fn list(path: String) -> Try {
    boxed(move || fs::read_dir(&path).map(drop))
}

fn connect(path: String) -> Try {
    boxed(move || UnixStream::connect(&path).map(drop))
}

/// The leave is asked for before the address, at which nothing is.
fn vm_read(pid: Pid) -> Try {
    boxed(move || {
        let mut byte = [0];
        let here = &mut [io::IoSliceMut::new(&mut byte)];
        let there = &[RemoteIoVec { base: 4096, len: 1 }];
        let pid = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
        match process_vm_readv(pid, here, there) {
            Ok(_) | Err(nix::Error::EFAULT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
}

fn steal(pid: Pid) -> Try {
    boxed(move || {
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let flags = PidfdGetfdFlags::empty();
        rustix::process::pidfd_getfd(process, 0, flags)?;
        Ok(())
    })
}

/// Opens a tap as Firecracker does, which has it already.
fn attach(name: String) -> Try {
    nix::ioctl_write_ptr_bad!(
        set_interface,
        nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
        libc::ifreq
    );
    boxed(move || {
        let tap = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")?;
        // SAFETY: an all-zero ifreq is a valid one.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: `request` outlives the call.
        match unsafe { set_interface(tap.as_raw_fd(), &raw const request) } {
            Ok(_) | Err(nix::Error::EBUSY) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
}

/// The whole list, so that what is new in a jail is thought of here.
fn writable(pid: u32) -> Result<()> {
    let top = jail_of(pid);
    let mut found = Vec::new();
    let mut rest = vec![String::new()];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(format!("{top}/{directory}"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = match &*directory {
                "" => name,
                directory => format!("{directory}/{name}"),
            };
            let may = AtFlags::EACCESS;
            match rustix::fs::accessat(CWD, entry.path(), Access::WRITE_OK, may) {
                Ok(()) => found.push(path.clone()),
                Err(Errno::ACCESS) => {}
                Err(error) => return Err(error).context(path),
            }
            if entry.file_type()?.is_dir() {
                rest.push(path);
            }
        }
    }
    found.sort();
    ensure!(found == WRITABLE, "it may write {found:?}");
    Ok(())
}
