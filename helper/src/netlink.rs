//! rtnetlink: one socket per operation, links as the operations need them.

use futures::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use nix::errno::Errno;
use rtnetlink::Handle;
use std::net::{IpAddr, Ipv4Addr};

use crate::Failure;

/// An open rtnetlink socket; closed when dropped.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    task: tokio::task::JoinHandle<()>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `ip link set … alias`: where ownership stands.
    pub alias: Option<String>,
    /// `bridge`, `tun`, `dummy`, …
    pub kind: Option<InfoKind>,
    /// The bridge that it is a port of.
    pub controller: Option<u32>,
    /// Administratively up.
    pub up: bool,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Netlink {
    /// Opens a socket in the caller's network namespace.
    pub fn open() -> Result<Self, Failure> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|e| Failure::os("NETLINK_ROUTE", "socket", e))?;
        Ok(Self {
            handle,
            task: tokio::spawn(connection),
        })
    }

    /// Every interface, from one dump.
    pub async fn links(&self) -> Result<Vec<Link>, Failure> {
        let dump: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| failure("RTM_GETLINK", "every link", e))?;
        Ok(dump.into_iter().map(Link::from).collect())
    }

    /// One interface by name.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, Failure> {
        let found = self
            .handle
            .link()
            .get()
            .match_name(name)
            .execute()
            .try_next()
            .await;
        match found {
            Ok(link) => Ok(link.map(Link::from)),
            Err(e) if errno(&e) == Some(Errno::ENODEV as i32) => Ok(None),
            Err(e) => Err(failure("RTM_GETLINK", name, e)),
        }
    }

    /// Makes an interface; one of that name is an error.
    pub async fn add(&self, name: &str, message: LinkMessage) -> Result<(), Failure> {
        let request = self.handle.link().add(message);
        request
            .execute()
            .await
            .map_err(|e| failure("RTM_NEWLINK", name, e))
    }

    /// Changes an interface.
    pub async fn set(&self, name: &str, message: LinkMessage) -> Result<(), Failure> {
        let request = self.handle.link().set(message);
        request
            .execute()
            .await
            .map_err(|e| failure("RTM_SETLINK", name, e))
    }

    /// Deletes an interface. `false`: it was gone.
    pub async fn delete(&self, link: &Link) -> Result<bool, Failure> {
        match self.handle.link().del(link.index).execute().await {
            Ok(()) => Ok(true),
            Err(e) if errno(&e) == Some(Errno::ENODEV as i32) => Ok(false),
            Err(e) => Err(failure("RTM_DELLINK", &link.name, e)),
        }
    }

    /// Every IPv4 address of the host: interface index, address, prefix length.
    pub async fn addresses(&self) -> Result<Vec<(u32, Ipv4Addr, u8)>, Failure> {
        let dump: Vec<_> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| failure("RTM_GETADDR", "every address", e))?;
        let mut found = Vec::new();
        for message in dump {
            if message.header.family != AddressFamily::Inet {
                continue;
            }
            for attribute in message.attributes {
                if let AddressAttribute::Address(IpAddr::V4(address)) = attribute {
                    found.push((message.header.index, address, message.header.prefix_len));
                }
            }
        }
        Ok(found)
    }

    /// Gives an interface an IPv4 address.
    pub async fn add_address(
        &self,
        link: &Link,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), Failure> {
        let request = self.handle.address();
        request
            .add(link.index, address.into(), prefix)
            .execute()
            .await
            .map_err(|e| {
                failure(
                    "RTM_NEWADDR",
                    &format!("{address}/{prefix} on {}", link.name),
                    e,
                )
            })
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            alias: None,
            kind: None,
            controller: None,
            up: message.header.flags.contains(LinkFlags::Up),
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.into_iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        link
    }
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(e) => e.code.map(|code| code.get().abs()),
        _ => None,
    }
}

fn failure(step: &'static str, object: &str, error: rtnetlink::Error) -> Failure {
    match errno(&error) {
        Some(code) => Failure::os(step, object, std::io::Error::from_raw_os_error(code)),
        None => Failure::later(step, format!("{object}: {error}")),
    }
}
