//! The sockets that a VMM shares with the daemon.
//!
//! The VMM's uid owns that directory, so a VMM that its guest took over can
//! put a symbolic link where a socket was. Nothing here follows one: the name
//! is opened as it is, and the connection is made to what was opened.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// Connects to the socket of this name in a VMM's directory.
pub async fn connect(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let socket = open_as_it_is(&directory.join(name))?;
    UnixStream::connect(through(&socket)).await
}

/// Listens at this name; what stood there goes. Everybody may connect who can
/// reach the directory: that is the VMM and the owner.
pub fn listen(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let path = directory.join(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    let socket = open_as_it_is(&path)?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(through(&socket), open)?;
    Ok(listener)
}

fn open_as_it_is(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty())?;
    if std::fs::metadata(through(&opened))?.file_type().is_socket() {
        Ok(opened)
    } else {
        Err(io::Error::other(format!(
            "{} is not a socket",
            path.display()
        )))
    }
}

/// The name of an opened file that leads to exactly it (proc(5), `/proc/pid/fd`).
fn through(opened: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", opened.as_raw_fd())
}
