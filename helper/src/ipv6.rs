//! The host's IPv6, as `/proc/sys/net/ipv6` has it
//! (Documentation/networking/ip-sysctl.rst), in the caller's network namespace.
//! A kernel without IPv6 has no such directory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::Failure;

const CONF: &str = "/proc/sys/net/ipv6/conf";

/// Whether the host has it: for what is there, and for what is yet to come.
pub fn on() -> Result<bool, Failure> {
    for interface in ["all", "default"] {
        if read(interface, "disable_ipv6")?.is_none_or(|it| it != "0") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether an interface of ours is as [`quieten`] leaves it.
pub fn is_quiet(interface: &str) -> Result<bool, Failure> {
    for (key, value) in QUIET {
        if read(interface, key)?.is_none_or(|it| it != value) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An interface with IPv6 that listens to no router: its addresses are ours to
/// give, and a guest is nobody's router. Answers whether anything changed.
pub fn quieten(interface: &str) -> Result<bool, Failure> {
    let mut changed = false;
    for (key, value) in QUIET {
        if read(interface, key)?.is_none_or(|it| it != value) {
            write(interface, key, value)?;
            changed = true;
        }
    }
    Ok(changed)
}

const QUIET: [(&str, &str); 3] = [("accept_ra", "0"), ("autoconf", "0"), ("disable_ipv6", "0")];

/// The host itself speaks no IPv6 on this interface; what it bridges still
/// passes. Nothing is to be done where there is no IPv6.
pub fn silence(interface: &str) -> Result<(), Failure> {
    match read(interface, "disable_ipv6")? {
        Some(value) if value == "0" => write(interface, "disable_ipv6", "1"),
        _ => Ok(()),
    }
}

/// Whether the host forwards.
pub fn forwarding() -> Result<bool, Failure> {
    Ok(read("all", "forwarding")?.is_some_and(|it| it == "1"))
}

/// Turns forwarding on; never off, since others on the host may rely on it.
/// An interface that learns its routes from a router goes on with it: 1 means
/// only as long as nothing is forwarded, and the host would lose its own way out.
pub fn forward() -> Result<bool, Failure> {
    if forwarding()? {
        return Ok(false);
    }
    let interfaces = fs::read_dir(CONF).map_err(|e| Failure::os("read", CONF, e))?;
    for interface in interfaces.flatten() {
        let name = interface.file_name();
        // An interface that went meanwhile has none.
        if let Some(name) = name.to_str()
            && name != "all"
            && read(name, "accept_ra")?.is_some_and(|it| it == "1")
        {
            write(name, "accept_ra", "2")?;
        }
    }
    write("all", "forwarding", "1")?;
    Ok(true)
}

/// A setting of an interface, or of `all` or `default`; `None` where there is
/// no such interface, or no IPv6.
fn read(interface: &str, key: &str) -> Result<Option<String>, Failure> {
    let path = path(interface, key);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::os("read", path.display().to_string(), e)),
    }
}

fn write(interface: &str, key: &str, value: &str) -> Result<(), Failure> {
    let path = path(interface, key);
    match fs::write(&path, value) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(|e| Failure::os("write", path.display().to_string(), e)),
    }
}

fn path(interface: &str, key: &str) -> PathBuf {
    Path::new(CONF).join(interface).join(key)
}
