//! The servers that everything else is asked of: the host's own, as its
//! resolv.conf has them at the moment of the question, or those that the
//! configuration names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use banger_protocol::slot::DNS_PORT;
use std::os::unix::fs::MetadataExt;

/// resolv.conf(5), `MAXNS`.
const MAX: usize = 3;
/// The host's servers; where those are of no use, what systemd-resolved asks.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// A file of servers is short; more of it isn't read.
const MAX_FILE: u64 = 64 * 1024;

/// Where servers are found.
#[derive(Debug)]
pub(super) enum Resolvers {
    /// As configured.
    Fixed(Vec<SocketAddr>),
    /// In the first of these files that has one of use.
    Files(Vec<File>),
}

/// A resolv.conf, and what it said last.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// A leaf lock.
    read: Mutex<Option<(Stamp, Arc<[SocketAddr]>)>>,
}

/// A file that was replaced or written has another one. It is looked at when a
/// question is forwarded, through every link: a watch of the links would say
/// no more, and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

impl Resolvers {
    /// The configured ones, or the host's where there are none.
    pub(super) fn new(configured: &[IpAddr]) -> Self {
        if configured.is_empty() {
            return Self::files(&FILES.map(Path::new));
        }
        let at = |ip: &IpAddr| SocketAddr::new(*ip, DNS_PORT);
        Self::Fixed(configured.iter().map(at).collect())
    }

    pub(super) fn files(paths: &[&Path]) -> Self {
        let file = |path: &&Path| File {
            path: path.to_path_buf(),
            read: Mutex::default(),
        };
        Self::Files(paths.iter().map(file).collect())
    }

    /// The servers to ask for a client, in order, at most three. None of them
    /// is this server or the client: that would be a loop. The host's own
    /// question isn't taken to a server on its loopback either, which may be
    /// what has brought it here.
    pub(super) fn of(&self, client: IpAddr, own: Ipv4Addr) -> Vec<SocketAddr> {
        let own = IpAddr::V4(own);
        let useful = |server: &SocketAddr| {
            let ip = server.ip().to_canonical();
            ip != own
                && ip != client
                && !ip.is_unspecified()
                && !(client == own && ip.is_loopback())
        };
        let pick = |servers: &[SocketAddr]| -> Vec<SocketAddr> {
            servers.iter().copied().filter(useful).take(MAX).collect()
        };
        match self {
            Self::Fixed(servers) => pick(servers),
            Self::Files(files) => files
                .iter()
                .map(|file| pick(&file.servers()))
                .find(|servers| !servers.is_empty())
                .unwrap_or_default(),
        }
    }
}

impl File {
    /// None where it can't be read: that is what it says then.
    fn servers(&self) -> Arc<[SocketAddr]> {
        let Ok(stamp) = Stamp::of(&self.path) else {
            return Arc::default();
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, servers)) = &*read
            && *seen == stamp
        {
            return Arc::clone(servers);
        }
        let Ok(text) = text(&self.path) else {
            return Arc::default();
        };
        let servers: Arc<[SocketAddr]> = parse(&text).into();
        tracing::info!(file = %self.path.display(), ?servers, "the host's DNS servers");
        *read = Some((stamp, Arc::clone(&servers)));
        servers
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: metadata.modified().ok(),
        })
    }
}

fn text(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_FILE)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The servers of a resolv.conf(5).
pub(super) fn parse(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then_some(())?;
            server(words.next()?)
        })
        .collect()
}

/// An address; a link-local one has its interface behind `%` (RFC 4007, 11).
fn server(word: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse().ok()?, DNS_PORT));
    };
    let index = zone
        .parse()
        .or_else(|_| nix::net::if_::if_nametoindex(zone))
        .ok()?;
    Some(SocketAddrV6::new(address.parse().ok()?, DNS_PORT, 0, index).into())
}
