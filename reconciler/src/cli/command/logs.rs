//! `banger logs NAME`: the VM's serial console, made harmless for a terminal.
//!
//! `-f` sleeps in inotify (inotify(7)) until the kernel says that the file grew.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use banger_core::api::{Kind, Name};
use clap::Args;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::cli::context::Context;
use crate::cli::escape::escape;
use crate::cli::output::print_raw;
use crate::cli::{Exit, Failure};

/// `banger logs NAME`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Logs {
    /// The VM
    name: Name,
    /// Go on with what is written
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
}

impl Logs {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let object = context.daemon.one(Kind::VirtualMachine, &self.name)?;
        let log = object
            .status
            .runtime
            .map(|runtime| runtime.serial_log)
            .ok_or_else(|| nothing_yet(&self.name))?;
        self.show(&log).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => nothing_yet(&self.name),
            _ => Failure::new(
                Exit::Internal,
                format!(
                    "vm/{}: the console log {} can't be read",
                    self.name,
                    log.display()
                ),
            )
            .because(&error),
        })??;
        Ok(Exit::Ok)
    }

    /// The outer error is the file's, the inner one the output's.
    fn show(&self, path: &Path) -> io::Result<Result<(), Failure>> {
        // Watched before it is read, so that nothing falls between.
        let changes = match self.follow {
            true => Some(watch(path)?),
            false => None,
        };
        let mut file = open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut text = Decoder::default();
        let mut shown = text.feed(&bytes);
        if let Some(lines) = self.tail {
            shown = last_lines(&shown, lines).to_owned();
        }
        if let Err(failure) = print_raw(&shown) {
            return Ok(Err(failure));
        }
        let Some(changes) = changes else {
            return Ok(print_raw(&text.end()));
        };
        loop {
            wait(&changes)?;
            // The cap of the log cuts it at the front: begin again there.
            if file.metadata()?.len() < file.stream_position()? {
                file.seek(SeekFrom::Start(0))?;
            }
            bytes.clear();
            file.read_to_end(&mut bytes)?;
            if let Err(failure) = print_raw(&text.feed(&bytes)) {
                return Ok(Err(failure));
            }
        }
    }
}

fn nothing_yet(name: &Name) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!("vm/{name} has written nothing to its console yet"),
    )
    .help(format!("`banger describe vm {name}` shows how far it is"))
}

/// A guest writes this file's content, so nothing but a regular file is read.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it isn't a regular file"))
    }
}

fn watch(path: &Path) -> io::Result<OwnedFd> {
    let changes = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&changes, path, WatchFlags::MODIFY)?;
    Ok(changes)
}

/// Blocks until something changed; what it was doesn't matter.
fn wait(changes: &OwnedFd) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    inotify::Reader::new(changes, &mut buffer).next()?;
    Ok(())
}

/// Bytes to harmless text; a character or line end that isn't complete yet
/// waits for the rest.
#[derive(Default)]
struct Decoder {
    rest: Vec<u8>,
}

impl Decoder {
    fn feed(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let mut ready = match std::str::from_utf8(&self.rest) {
            Ok(_) => self.rest.len(),
            // Only an incomplete character at the very end is worth waiting for.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.rest.len(),
        };
        while ready > 0 && self.rest[ready - 1] == b'\r' {
            ready -= 1;
        }
        let rest = self.rest.split_off(ready);
        let text = escape(&String::from_utf8_lossy(&self.rest));
        self.rest = rest;
        text
    }

    fn end(&mut self) -> String {
        let text = escape(&String::from_utf8_lossy(&self.rest));
        self.rest.clear();
        text
    }
}

fn last_lines(text: &str, lines: usize) -> &str {
    let body = text.strip_suffix('\n').unwrap_or(text);
    match lines {
        0 => "",
        lines => match body.rmatch_indices('\n').nth(lines - 1) {
            Some((at, _)) => &text[at + 1..],
            None => text,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, last_lines};

    #[test]
    fn what_is_cut_in_two_arrives_whole() {
        let mut text = Decoder::default();
        assert_eq!(text.feed(b"gr\xc3"), "gr");
        assert_eq!(text.feed(b"\xbcn\r"), "\u{fc}n");
        assert_eq!(text.feed(b"\n\x1b[0m"), "\n\\x1b[0m");
        assert_eq!(text.feed(b"\xff!"), "\u{fffd}!");
        assert_eq!(text.feed(b"\xe2\x82"), "");
        assert_eq!(text.end(), "\u{fffd}");
    }

    #[test]
    fn the_last_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a\nb\nc", 1), "c");
        assert_eq!(last_lines("a\n", 9), "a\n");
        assert_eq!(last_lines("a\n", 0), "");
    }
}
