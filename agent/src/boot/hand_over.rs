//! From the initrd to the image: the agent stays behind as a process of its
//! own, then PID 1 becomes the image's init.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat};
use rustix::mount::mount_move;

use super::mounts;
use crate::fault::{During, Fault};
use crate::guest::Root;
use crate::{SERVE_NAME, log};

/// Where an init is looked for, in this order.
const INITS: [&str; 6] = [
    "/sbin/init",
    "/usr/sbin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/bin/init",
    "/init",
];
/// Where the agent runs from: memory, so that it keeps no disk busy.
const AGENT: &str = "/run/banger/agent";
/// What systemd pivots to at the very end, and there runs `shutdown` of
/// (systemd: "The initrd Interface of systemd", bootup(7)).
const EXIT: &str = "/run/initramfs";

/// Hands over; comes back only where it can't.
pub(super) fn run(root: &Root, newroot: &Path) -> Result<Infallible, Fault> {
    let init = INITS
        .into_iter()
        .find(|path| root.has_program(path))
        .ok_or_else(|| {
            let looked = INITS.join(", ");
            Fault::new(
                "looking for the image's init",
                format!("none of {looked} is a program in the image"),
            )
        })?;
    install_agent(root).during("copying the agent into the guest's memory")?;
    start_agent(newroot).during("starting the agent in the guest")?;
    log::note(format_args!("handing over to {init}"));
    switch_root(newroot).during("changing to the image's root")?;
    let mut command = Command::new(init);
    command.args(std::env::args_os().skip(1));
    Err(command.exec()).during(format!("running the image's {init}"))
}

/// One copy under two names.
fn install_agent(root: &Root) -> io::Result<()> {
    let directory = root.directory("/run/banger", 0o755)?;
    let exit = root.directory(EXIT, 0o755)?;
    for name in ["dev", "oldroot", "proc", "run", "sys"] {
        root.directory(&format!("{EXIT}/{name}"), 0o755)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o755);
    let mut copy = File::from(openat(&directory, "agent", flags, mode)?);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    Ok(linkat(
        &directory,
        "agent",
        &exit,
        "shutdown",
        AtFlags::empty(),
    )?)
}

/// Comes back once it has been exec'd: `spawn` waits for that.
fn start_agent(newroot: &Path) -> io::Result<()> {
    let newroot = newroot.to_owned();
    let mut command = Command::new(AGENT);
    command
        .arg0(SERVE_NAME)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: between fork and exec only these system calls are made.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            nix::unistd::chroot(&newroot)?;
            Ok(nix::unistd::chdir("/")?)
        });
    }
    // Nobody waits for it here: the image's init adopts it by being PID 1.
    command.spawn().map(drop)
}

/// As switch_root(8): the initrd's files are freed, the new root takes the
/// place of the old.
fn switch_root(newroot: &Path) -> io::Result<()> {
    mounts::forget_early();
    // What stays costs memory, nothing else.
    let _ = fs::remove_dir_all("/modules");
    let _ = fs::remove_file("/init");
    nix::unistd::chdir(newroot)?;
    mount_move(".", "/")?;
    nix::unistd::chroot(".")?;
    Ok(nix::unistd::chdir("/")?)
}
