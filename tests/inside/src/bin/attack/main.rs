//! `attack`: what a compromised owner account may try with everything that the
//! helper offers. Each attempt must be refused, and an honest client served
//! after it. Runs as the owner, beside a VM that runs.
//!
//! The scenario plants what the owner can't make: a file of another account in
//! the state directory (`foreign.img`), and a loop and a dm device of nobody's.

mod crowd;
mod disks;
mod words;

use std::fs::{self, File, OpenOptions};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use banger_helper::client::{Client, ClientError};
use banger_protocol::{DiskRole, LoopNumber, Request, Response, Slot, VmUid, install};
use clap::Parser;
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, mkfifoat};
use uuid::Uuid;

/// How long an honest client may wait under attack; the daemon gives up after 45 s.
const HONEST: Duration = Duration::from_secs(20);

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
    /// Without crowds on every seat, and with less of what is tried often.
    #[arg(long)]
    quick: bool,
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
    let requests: [(&str, Attempt); 11] = [
        ("disks that aren't the owner's", Attack::disks),
        ("boot files that aren't files", Attack::boot_files),
        ("devices of others under a root disk", Attack::devices),
        ("removals of what isn't that VM's", Attack::removals),
        ("a removal sent again", Attack::replay),
        ("a file that is swapped under its name", Attack::swapped),
        ("more memory than the host has", Attack::memory),
        ("slots beyond the subnet", Attack::slots),
        ("what no request has a field for", Attack::fields),
        ("sockets at other ports and of other kinds", Attack::sockets),
        ("frames of every bad kind", Attack::frames),
    ];
    let crowds: [(&str, Attempt); 4] = [
        ("ten thousand connections", Attack::connections),
        ("slow frames on every seat", Attack::slow),
        ("a queue on every seat", Attack::turns),
        ("descriptors on every seat", Attack::descriptors),
    ];
    let crowds = crowds.into_iter().filter(|_| !attack.arguments.quick);
    let (mut passed, mut failed) = (0, 0);
    for (what, attempt) in requests.into_iter().chain(crowds) {
        let tried = attempt(&attack).and_then(|()| honest());
        match tried {
            Ok(()) => {
                passed += 1;
                println!("PASS {what}");
            }
            Err(error) => {
                failed += 1;
                println!("FAIL {what}: {error:#}");
            }
        }
    }
    fs::remove_dir_all(&attack.work)?;
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn socket() -> &'static Path {
    Path::new(install::HELPER_SOCKET)
}

/// An honest client gets its answer in time; and how long that took, in the
/// midst of this.
fn honest_beside(what: &str) -> Result<()> {
    let start = Instant::now();
    honest().with_context(|| format!("beside {what}"))?;
    println!("    served after {:?} beside {what}", start.elapsed());
    Ok(())
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

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], body].concat()
}

impl Attack {
    /// How often something is tried that may go well many times.
    fn times(&self, all: usize) -> usize {
        if self.arguments.quick { all / 10 } else { all }
    }

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
}
