//! The SSH server's host keys. Images carry none; each guest makes its own once.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::OFlags;

use super::root::Root;
use crate::log;

/// Only this kind: on a slow machine RSA takes seconds, and every client of the
/// last ten years knows it.
const KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
const KEYGEN: &str = "/usr/bin/ssh-keygen";
const SERVERS: [&str; 3] = ["/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd"];
/// More keys than any server has, and longer than any of them is.
const MOST: usize = 8;
const LONGEST: usize = 4096;

/// Whether the image has an SSH server.
pub(crate) fn has_ssh_server(root: &Root) -> bool {
    SERVERS.iter().any(|path| root.has_program(path))
}

/// Makes a host key where a server is and no key. `at` is where `root` is.
/// A power cut may have left an empty one.
pub(crate) fn ensure_host_keys(root: &Root, at: &Path) -> io::Result<()> {
    let there = root.read(KEY)?.is_some_and(|key| !key.is_empty());
    if there || !has_ssh_server(root) {
        return Ok(());
    }
    if !root.has_program(KEYGEN) {
        log::error(format_args!(
            "the image has an SSH server but no {KEYGEN}, so it gets no host key"
        ));
        return Ok(());
    }
    let public = format!("{KEY}.pub");
    for path in [KEY, public.as_str()] {
        root.remove(path)?;
    }
    let at = at.to_owned();
    let mut command = Command::new(KEYGEN);
    command
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", KEY])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // SAFETY: between fork and exec only these two system calls are made.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::chroot(&at)?;
            Ok(nix::unistd::chdir("/")?)
        });
    }
    let status = command.status()?;
    if !status.success() {
        return Err(io::Error::other(format!("ssh-keygen ended with {status}")));
    }
    // sshd doesn't start with half a key.
    for path in [KEY, public.as_str()] {
        rustix::fs::fsync(root.at(path, OFlags::RDONLY)?)?;
    }
    Ok(())
}

/// The public host keys, each as type and key: what a client pins.
pub(crate) fn public_host_keys(root: &Root) -> Vec<String> {
    let kinds = ["ed25519", "ecdsa", "rsa"];
    kinds
        .iter()
        .filter_map(|kind| {
            let path = format!("/etc/ssh/ssh_host_{kind}_key.pub");
            let text = root.read_text(&path).ok()?;
            let mut words = text.split_whitespace();
            let key = format!("{} {}", words.next()?, words.next()?);
            (key.len() <= LONGEST).then_some(key)
        })
        .take(MOST)
        .collect()
}
