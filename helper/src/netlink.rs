//! rtnetlink: one socket per operation, links as the operations need them.

use futures::TryStreamExt;
use netlink_packet_core::Nla;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoTun, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::tc::TcHandle;
use nix::errno::Errno;
use rtnetlink::{Handle, LinkDelRequest, LinkGetRequest};
use std::net::IpAddr;

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
    /// The uid that may attach to a tun device.
    pub user: Option<u32>,
    /// The group of interfaces that it is in; 0 unless somebody set it.
    pub group: u32,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's index.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
    /// Bits of its network.
    pub prefix: u8,
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
        let request = self.handle.link().get().match_name(name);
        Self::one(request, name).await
    }

    /// One interface by index.
    pub async fn link_at(&self, index: u32) -> Result<Option<Link>, Failure> {
        let request = self.handle.link().get().match_index(index);
        Self::one(request, &format!("interface {index}")).await
    }

    async fn one(request: LinkGetRequest, name: &str) -> Result<Option<Link>, Failure> {
        match request.execute().try_next().await {
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

    /// Deletes every interface of a group, in one message: 64 taps take 40 ms
    /// so, and a second one by one. A group proves nothing: the caller has just
    /// put its own into a fresh one.
    pub async fn delete_group(&self, group: u32) -> Result<(), Failure> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Group(group));
        let request = LinkDelRequest::new_with_message(self.handle.clone(), message);
        request
            .execute()
            .await
            .map_err(|e| failure("RTM_DELLINK", &format!("group {group}"), e))
    }

    /// Takes every address from an interface.
    pub async fn flush_addresses(&self, link: &Link) -> Result<(), Failure> {
        let addresses = self.handle.address();
        let dump: Vec<_> = addresses
            .get()
            .set_link_index_filter(link.index)
            .execute()
            .try_collect()
            .await
            .map_err(|e| failure("RTM_GETADDR", &link.name, e))?;
        for message in dump {
            match addresses.del(message).execute().await {
                Ok(()) => {}
                Err(e) if errno(&e) == Some(Errno::EADDRNOTAVAIL as i32) => {}
                Err(e) => return Err(failure("RTM_DELADDR", &link.name, e)),
            }
        }
        Ok(())
    }

    /// Gives an interface its default queue back, and takes filters from it.
    pub async fn reset_queues(&self, link: &Link) -> Result<(), Failure> {
        let index = link.index.cast_signed();
        for parent in [TcHandle::ROOT, TcHandle::INGRESS] {
            let mut request = self.handle.qdisc().del(index);
            request.message_mut().header.parent = parent;
            match request.execute().await {
                Ok(()) => {}
                // There is none but the default, or the kernel has no other.
                Err(e) if errno(&e).map(Errno::from_raw).is_some_and(no_qdisc) => {}
                Err(e) => return Err(failure("RTM_DELQDISC", &link.name, e)),
            }
        }
        Ok(())
    }

    /// Every address of the host.
    pub async fn addresses(&self) -> Result<Vec<Address>, Failure> {
        let dump: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| failure("RTM_GETADDR", "every address", e))?;
        let mut found = Vec::new();
        for message in dump {
            for attribute in message.attributes {
                if let AddressAttribute::Address(ip) = attribute {
                    found.push(Address {
                        index: message.header.index,
                        ip,
                        prefix: message.header.prefix_len,
                    });
                }
            }
        }
        Ok(found)
    }

    /// Gives an interface an address. Nobody else can have it, so that an IPv6
    /// address needn't wait until nobody has objected.
    pub async fn add_address(&self, link: &Link, ip: IpAddr, prefix: u8) -> Result<(), Failure> {
        let mut request = self.handle.address().add(link.index, ip, prefix);
        if ip.is_ipv6() {
            request.message_mut().header.flags = AddressHeaderFlags::Nodad;
        }
        let object = || format!("{ip}/{prefix} on {}", link.name);
        request
            .execute()
            .await
            .map_err(|e| failure("RTM_NEWADDR", &object(), e))
    }

    /// Takes an address from an interface. `false`: it was gone.
    pub async fn remove_address(
        &self,
        link: &Link,
        ip: IpAddr,
        prefix: u8,
    ) -> Result<bool, Failure> {
        // The same message as it was added with.
        let mut add = self.handle.address().add(link.index, ip, prefix);
        let message = std::mem::take(add.message_mut());
        match self.handle.address().del(message).execute().await {
            Ok(()) => Ok(true),
            Err(e) if errno(&e) == Some(Errno::EADDRNOTAVAIL as i32) => Ok(false),
            Err(e) => {
                let object = format!("{ip}/{prefix} on {}", link.name);
                Err(failure("RTM_DELADDR", &object, e))
            }
        }
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
            user: None,
            group: 0,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::Group(group) => link.group = group,
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        match info {
                            LinkInfo::Kind(kind) => link.kind = Some(kind),
                            LinkInfo::Data(InfoData::Tun(data)) => link.user = user(&data),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        link
    }
}

/// `IFLA_TUN_OWNER` (linux/if_link.h).
fn user(data: &[InfoTun]) -> Option<u32> {
    const OWNER: u16 = 1;
    let owner = data.iter().find(|attribute| attribute.kind() == OWNER)?;
    let mut value = [0; 4];
    if owner.value_len() != value.len() {
        return None;
    }
    owner.emit_value(&mut value);
    Some(u32::from_ne_bytes(value))
}

const fn no_qdisc(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOENT | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENODEV
    )
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
