//! `attack`: what a compromised owner account may try with everything that the
//! helper offers. Each attempt must be refused, and an honest client served
//! after it. Runs as the owner, beside a VM that runs.
//!
//! The scenario plants what the owner can't make: a file of another account in
//! the state directory (`foreign.img`), and a loop and a dm device of nobody's.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use banger_helper::client::{Client, ClientError};
use banger_protocol::{
    DiskRole, Handle, LoopNumber, NetworkPolicy, Request, Response, Sectors, Slot, VmUid, install,
};
use clap::Parser;
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, mkfifoat};
use uuid::Uuid;

/// How long an honest client may wait under attack: until slow frames are
/// given up, and a little.
const HONEST: Duration = Duration::from_secs(20);
/// Connections at once, and how many frames are thrown at the helper.
const CONNECTIONS: usize = 10_000;
const FRAMES: usize = 2_000;

/// Tries to get more of the helper than is the owner's.
#[derive(Parser)]
struct Arguments {
    /// The state directory.
    #[arg(long, default_value = "/var/lib/banger")]
    state: PathBuf,
    /// A running VM of the owner's: its loops and tap must survive.
    #[arg(long)]
    victim: VmUid,
    /// The victim's slot.
    #[arg(long)]
    victim_slot: u16,
    /// The victim's copy-on-write loop.
    #[arg(long)]
    victim_loop: u32,
    /// A loop device of nobody's.
    #[arg(long)]
    foreign_loop: u32,
}

struct Attack {
    arguments: Arguments,
    work: PathBuf,
}

type Attempt = fn(&Attack) -> Result<()>;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let work = arguments.state.join("attack");
    fs::create_dir_all(&work)?;
    let attack = Attack { arguments, work };
    let attempts: [(&str, Attempt); 9] = [
        ("disks that aren't the owner's", Attack::disks),
        ("boot files that aren't files", Attack::boot_files),
        ("devices of others under a root disk", Attack::devices),
        ("removals of what isn't that VM's", Attack::removals),
        ("a removal sent again", Attack::replay),
        ("slots beyond the subnet", Attack::slots),
        ("frames of every bad kind", Attack::frames),
        ("ten thousand connections", Attack::connections),
        ("slow frames on every seat", Attack::slow),
    ];
    let mut failed = 0;
    for (what, attempt) in attempts {
        let tried = attempt(&attack).and_then(|()| honest());
        match tried {
            Ok(()) => println!("PASS {what}"),
            Err(error) => {
                failed += 1;
                println!("FAIL {what}: {error:#}");
            }
        }
    }
    fs::remove_dir_all(&attack.work)?;
    println!("{} passed, {failed} failed", attempts.len() - failed);
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn socket() -> &'static Path {
    Path::new(install::HELPER_SOCKET)
}

/// An honest client gets its answer in time.
fn honest() -> Result<()> {
    let start = Instant::now();
    let mut client = Client::connect(socket()).context("an honest client isn't served")?;
    let answer = client.call(&Request::Inventory {}, &[])?;
    ensure!(
        matches!(answer, Response::Inventory { .. }),
        "an honest client got {answer:?}"
    );
    let took = start.elapsed();
    ensure!(took < HONEST, "an honest client waited {took:?}");
    Ok(())
}

fn uid(n: u128) -> VmUid {
    VmUid::new(Uuid::from_u128(
        0x0192_0000_0000_7000_8000_0000_00a7_7ac0 + n,
    ))
}

/// Whether the helper says no, for good or by ending the connection.
fn refused(what: &str, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut client = Client::connect(socket())?;
    match client.call(request, descriptors) {
        Ok(Response::Error { error }) if error.step == "panic" => bail!("{what}: it died: {error}"),
        Ok(Response::Error { .. }) | Err(ClientError::Io(_)) => Ok(()),
        Ok(answer) => bail!("{what}: it answered {answer:?}"),
        Err(error) => Err(error).context(what.to_owned()),
    }
}

impl Attack {
    fn victim_loop(&self) -> LoopNumber {
        LoopNumber(self.arguments.victim_loop)
    }

    fn foreign_loop(&self) -> LoopNumber {
        LoopNumber(self.arguments.foreign_loop)
    }

    /// A disk of our own, of this length.
    fn own(&self, name: &str) -> Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.work.join(name))?;
        file.set_len(1 << 20)?;
        Ok(file)
    }

    /// Everything that a descriptor can be and a disk can't.
    fn odd(&self) -> Result<Vec<(&'static str, OwnedFd)>> {
        let open = |path: &Path| -> Result<OwnedFd> {
            Ok(File::open(path)
                .with_context(|| path.display().to_string())?
                .into())
        };
        let fifo = self.work.join("fifo");
        let _ = fs::remove_file(&fifo);
        mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o600))?;
        let fifo = OpenOptions::new().read(true).write(true).open(&fifo)?;
        self.own("linked")?;
        let second = self.work.join("second-name");
        let _ = fs::remove_file(&second);
        fs::hard_link(self.work.join("linked"), &second)?;
        let linked = OpenOptions::new().read(true).write(true).open(&second)?;
        let unlinked = self.own("unlinked")?;
        fs::remove_file(self.work.join("unlinked"))?;
        let by_path = rustix::fs::open(self.work.join("linked"), OFlags::PATH, Mode::empty())?;
        let (ours, _theirs) = UnixStream::pair()?;
        let foreign = self.arguments.state.join("foreign.img");
        Ok(vec![
            ("/etc/passwd", open(Path::new("/etc/passwd"))?),
            ("another account's file", open(&foreign)?),
            ("a directory", open(&self.work)?),
            ("/dev/null", open(Path::new("/dev/null"))?),
            ("/proc/self/mem", open(Path::new("/proc/self/mem"))?),
            ("a FIFO", fifo.into()),
            ("a file with two names", linked.into()),
            ("a file without a name", unlinked.into()),
            ("an O_PATH descriptor", by_path),
            ("a socket", ours.into()),
            ("memory", memfd_create("disk", MemfdFlags::CLOEXEC)?),
        ])
    }

    fn disks(&self) -> Result<()> {
        for (what, descriptor) in self.odd()? {
            for role in [DiskRole::Cow, DiskRole::Work, DiskRole::Base] {
                let request = Request::EnsureLoop { uid: uid(1), role };
                refused(what, &request, &[descriptor.as_fd()])?;
            }
        }
        // Readable is not writable.
        self.own("read-only")?;
        let read_only = File::open(self.work.join("read-only"))?;
        let request = Request::EnsureLoop {
            uid: uid(1),
            role: DiskRole::Cow,
        };
        refused(
            "a disk that is only readable",
            &request,
            &[read_only.as_fd()],
        )
    }

    fn boot_files(&self) -> Result<()> {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.work.join("serial.log"))?;
        for (what, descriptor) in self.odd()? {
            let request = Request::StartVmm {
                uid: uid(1),
                slot: Slot::try_from(self.arguments.victim_slot + 1)?,
                memory_mib: 128,
                vcpus: 1,
                work_disk: false,
            };
            let bad = descriptor.as_fd();
            refused(what, &request, &[bad, bad, log.as_fd()])?;
        }
        Ok(())
    }

    fn devices(&self) -> Result<()> {
        let size = Sectors::from_bytes(1 << 20);
        let (victim, foreign) = (self.victim_loop(), self.foreign_loop());
        for (what, base, cow) in [
            ("another VM's loop", victim, victim),
            ("nobody's loop", foreign, foreign),
            ("nobody's loop under another VM's", foreign, victim),
        ] {
            refused(
                what,
                &Request::EnsureDm {
                    uid: uid(1),
                    base,
                    cow,
                    size,
                },
                &[],
            )?;
        }
        Ok(())
    }

    /// With a uid or a device that don't belong together, nothing goes: the
    /// scenario looks whether it is all there.
    fn removals(&self) -> Result<()> {
        let mut client = Client::connect(socket())?;
        let slot = Slot::try_from(self.arguments.victim_slot)?;
        for request in [
            Request::RemoveTap { uid: uid(1), slot },
            Request::RemoveLoop {
                uid: uid(1),
                role: DiskRole::Cow,
                device: self.victim_loop(),
            },
            Request::RemoveLoop {
                uid: self.arguments.victim,
                role: DiskRole::Cow,
                device: self.foreign_loop(),
            },
            Request::RemoveDm { uid: uid(1) },
            Request::RemoveVmm { uid: uid(1) },
            // It runs: it must be killed first.
            Request::RemoveVmm {
                uid: self.arguments.victim,
            },
            // A VM stands on them.
            Request::RemoveDm {
                uid: self.arguments.victim,
            },
            Request::RemoveLoop {
                uid: self.arguments.victim,
                role: DiskRole::Cow,
                device: self.victim_loop(),
            },
        ] {
            let answer = client.call(&request, &[])?;
            ensure!(
                !matches!(answer, Response::Changed { .. }),
                "{request:?} was answered with {answer:?}"
            );
        }
        Ok(())
    }

    /// A device that another VM got meanwhile isn't taken from it.
    fn replay(&self) -> Result<()> {
        let mut client = Client::connect(socket())?;
        let mut attach = |n: u128, name: &str| -> Result<LoopNumber> {
            let disk = self.own(name)?;
            let request = Request::EnsureLoop {
                uid: uid(n),
                role: DiskRole::Cow,
            };
            match client.call(&request, &[disk.as_fd()])? {
                Response::Changed {
                    handle: Handle::Loop(device),
                } => Ok(device),
                answer => bail!("{request:?} was answered with {answer:?}"),
            }
        };
        let first = attach(2, "two")?;
        let removal = Request::RemoveLoop {
            uid: uid(2),
            role: DiskRole::Cow,
            device: first,
        };
        let mut once = Client::connect(socket())?;
        once.call(&removal, &[])?;
        let second = attach(3, "three")?;
        let again = once.call(&removal, &[])?;
        let hers = Request::RemoveLoop {
            uid: uid(3),
            role: DiskRole::Cow,
            device: second,
        };
        let gone = once.call(&hers, &[])?;
        ensure!(
            !matches!(again, Response::Changed { .. }) && matches!(gone, Response::Changed { .. }),
            "loop {first:?} then {second:?}; the removal again: {again:?}; the right one: {gone:?}"
        );
        Ok(())
    }

    fn slots(&self) -> Result<()> {
        for n in [60_000, u16::MAX] {
            let Ok(slot) = Slot::try_from(n) else {
                continue;
            };
            refused(
                "a slot beyond the subnet",
                &Request::EnsureTap { uid: uid(1), slot },
                &[],
            )?;
            let policy = NetworkPolicy {
                guests: [slot].into(),
                ..NetworkPolicy::default()
            };
            refused(
                "NAT for a slot beyond the subnet",
                &Request::from(policy),
                &[],
            )?;
        }
        let slot = Slot::try_from(self.arguments.victim_slot)?;
        refused(
            "another VM's slot",
            &Request::EnsureTap { uid: uid(1), slot },
            &[],
        )
    }

    /// Each ends its connection or is refused, and nothing else.
    fn frames(&self) -> Result<()> {
        let framed = |body: &[u8]| {
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            [&length.to_be_bytes()[..], body].concat()
        };
        let nested = "[".repeat(60_000);
        let bad: Vec<Vec<u8>> = vec![
            vec![0xff; 4],
            vec![0; 4],
            framed(b"{}"),
            framed(b"null"),
            framed(b"\xff\xfe"),
            framed(br#"{"op":"run-shell","line":"id"}"#),
            framed(br#"{"op":"inventory","path":"/etc/shadow"}"#),
            framed(br#"{"op":"remove-vmm","uid":"../../etc"}"#),
            framed(br#"{"op":"ensure-nat","guests":[1e99]}"#),
            framed(nested.as_bytes()),
        ];
        let hello = framed(&serde_json::to_vec(&Request::Hello {
            version: banger_protocol::version::CURRENT,
        })?);
        for n in 0..FRAMES {
            let mut stream = UnixStream::connect(socket())?;
            stream.set_read_timeout(Some(HONEST))?;
            if n % 2 == 0 {
                stream.write_all(&hello)?;
            }
            // The helper may have hung up by now.
            let _ = stream.write_all(&bad[(n / 2) % bad.len()]);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut said = String::new();
            let _ = stream.read_to_string(&mut said);
            ensure!(!said.contains("\"panic\""), "frame {n} made it die: {said}");
        }
        Ok(())
    }

    /// As many as the kernel lets us have; they say nothing.
    fn connections(&self) -> Result<()> {
        let limit = rustix::process::Rlimit {
            current: Some(CONNECTIONS as u64 + 100),
            maximum: Some(CONNECTIONS as u64 + 100),
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
            .context("this account may not have so many descriptors")?;
        let address = rustix::net::SocketAddrUnix::new(install::HELPER_SOCKET)?;
        let mut held = Vec::new();
        let mut full = 0;
        for _ in 0..CONNECTIONS {
            let socket = rustix::net::socket_with(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::STREAM,
                rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC,
                None,
            )?;
            match rustix::net::connect(&socket, &address) {
                Ok(()) => held.push(socket),
                // The backlog is full.
                Err(rustix::io::Errno::AGAIN) => full += 1,
                Err(error) => return Err(error).context("connect"),
            }
        }
        ensure!(held.len() > 64, "only {} connections", held.len());
        println!(
            "    {} connected, {full} turned away by a full backlog",
            held.len()
        );
        Ok(())
    }

    /// Every seat is taken by somebody who is slow, or silent after `hello`.
    fn slow(&self) -> Result<()> {
        let (mut slow, mut silent) = (Vec::new(), Vec::new());
        for n in 0..64 {
            if n % 2 == 0 {
                let mut stream = UnixStream::connect(socket())?;
                stream.write_all(&[0])?;
                slow.push(stream);
            } else {
                silent.push(Client::connect(socket())?);
            }
        }
        honest()
    }
}
