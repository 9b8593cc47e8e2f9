//! Names, addresses and environment: the files that make one guest out of an
//! image that many share.

use std::fmt::Write;
use std::io;

use banger_agent_protocol::{GuestConfig, GuestFile};

use super::block::replace;
use super::root::Root;
use crate::fault::{During, Fault};

/// Writes host name, hosts, resolver, machine id, environment and files.
pub(crate) fn write_identity(root: &Root, config: &GuestConfig) -> Result<(), Fault> {
    let write = |path: &str, content: io::Result<String>| {
        content
            .and_then(|text| root.write(path, text.as_bytes(), 0o644))
            .during(format!("writing {path}"))
    };
    write("/etc/hostname", Ok(format!("{}\n", config.hostname)))?;
    write(
        "/etc/hosts",
        root.read_text("/etc/hosts").map(|old| hosts(&old, config)),
    )?;
    write("/etc/resolv.conf", Ok(resolv_conf(config)))?;
    // machine-id(5): read-only to everyone.
    machine_id(&config.uid)
        .and_then(|id| root.write("/etc/machine-id", id.as_bytes(), 0o444))
        .during("writing /etc/machine-id")?;
    write(
        "/etc/environment",
        environment(config)
            .and_then(|lines| Ok(replace(&root.read_text("/etc/environment")?, &lines))),
    )?;
    write_files(root, &config.files)
}

/// Writes each file whole, and the directories that it lies in.
pub(crate) fn write_files(root: &Root, files: &[GuestFile]) -> Result<(), Fault> {
    for file in files {
        file.content()
            .ok_or_else(|| io::Error::other("its content is not base64"))
            .and_then(|content| root.write(&file.path, &content, file.mode & 0o7777))
            .during(format!("writing {}", file.path))?;
    }
    Ok(())
}

/// The guest under its own names, and `localhost` where nobody says it.
pub(super) fn hosts(old: &str, config: &GuestConfig) -> String {
    let mut names: Vec<String> = config
        .search
        .iter()
        .map(|domain| format!("{}.{domain}", config.hostname))
        .collect();
    names.push(config.hostname.clone());
    let mut lines = Vec::new();
    let others = replace(old, &[]);
    if !others
        .lines()
        .any(|line| line.split_whitespace().any(|word| word == "localhost"))
    {
        lines.push("127.0.0.1 localhost".to_owned());
        lines.push("::1 localhost".to_owned());
    }
    lines.push(format!("{} {}", config.address, names.join(" ")));
    replace(&others, &lines)
}

/// resolv.conf(5).
pub(super) fn resolv_conf(config: &GuestConfig) -> String {
    let mut text = String::from("# banger: rewritten at every boot\n");
    for server in &config.nameservers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !config.search.is_empty() {
        let _ = writeln!(text, "search {}", config.search.join(" "));
    }
    text
}

/// machine-id(5): 32 lower-case hexadecimal digits and a line end, not all zero.
pub(super) fn machine_id(uid: &str) -> io::Result<String> {
    let id: String = uid
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let right = id.len() == 32
        && id.bytes().all(|byte| byte.is_ascii_hexdigit())
        && id.bytes().any(|byte| byte != b'0');
    if right {
        Ok(id + "\n")
    } else {
        Err(io::Error::other(format!("`{uid}` is no UUID")))
    }
}

/// Lines for pam_env(8), which knows no escapes: a value of several lines can't
/// be said. It takes the quotes off by itself, so a value may hold blanks and `#`.
pub(super) fn environment(config: &GuestConfig) -> io::Result<Vec<String>> {
    config
        .env
        .iter()
        .map(|(name, value)| {
            let plain = name.bytes().enumerate().all(|(at, byte)| {
                byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit())
            });
            if name.is_empty() || !plain {
                Err(io::Error::other(format!("`{name}` is no variable's name")))
            } else if value.contains(['\n', '\r', '\0']) {
                Err(io::Error::other(format!(
                    "the value of {name} has several lines"
                )))
            } else {
                Ok(format!("{name}=\"{value}\""))
            }
        })
        .collect()
}
