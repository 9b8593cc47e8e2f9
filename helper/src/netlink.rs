//! rtnetlink: one socket per operation, because the kernel has one dump at a time on
//! each; links as the operations need them.

mod blocking;

use std::io;
use std::net::IpAddr;
use std::pin::pin;

use futures::{Stream, StreamExt, TryStreamExt};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoTun, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::tc::TcHandle;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use rtnetlink::{Handle, LinkDelRequest, LinkGetRequest};

use crate::Failure;

pub use blocking::Blocking;

/// A dump that is interrupted so often is given up.
const DUMPS: u32 = 5;

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

/// An interface's index by its name; `None`: there is none. Unlike a question
/// over netlink it doesn't wait for those who make and change interfaces just
/// then, each of whom holds the kernel's one lock on them.
pub fn index(name: &str) -> Result<Option<u32>, Failure> {
    match if_nametoindex(name) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::ENODEV) => Ok(None),
        Err(e) => Err(Failure::os("SIOCGIFINDEX", name, e)),
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Netlink {
    /// Opens a socket in the caller's network namespace.
    pub fn open() -> Result<Self, Failure> {
        let (mut connection, handle, _) =
            rtnetlink::new_connection().map_err(|e| Failure::os("NETLINK_ROUTE", "socket", e))?;
        // Only its last message tells whether a dump is whole.
        connection.set_forward_done(true);
        Ok(Self {
            handle,
            task: tokio::spawn(connection),
        })
    }

    /// Every interface, from one dump.
    pub async fn links(&self) -> Result<Vec<Link>, Failure> {
        let every = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let dump = self.dump("RTM_GETLINK", "every link", every).await?;
        let links = dump.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(Link::from(link)),
            _ => None,
        });
        Ok(links.collect())
    }

    async fn address_messages(&self, object: &str) -> Result<Vec<AddressMessage>, Failure> {
        let every = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let dump = self.dump("RTM_GETADDR", object, every).await?;
        let addresses = dump.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) => Some(address),
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// A whole answer in parts: one that the kernel says was interrupted is
    /// asked for again.
    async fn dump(
        &self,
        step: &'static str,
        object: &str,
        question: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Failure> {
        for _ in 0..DUMPS {
            let mut message = NetlinkMessage::from(question.clone());
            message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
            let parts = self.handle.clone().request(message);
            let parts = parts.map_err(|e| failure(step, object, e))?;
            match whole(parts).await {
                Ok(Some(dump)) => return Ok(dump),
                Ok(None) => {}
                Err(e) => return Err(Failure::os(step, object, e)),
            }
        }
        Err(Failure::later(
            step,
            format!("{object}: it changed each of the {DUMPS} times that it was read"),
        ))
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
        let dump = self.address_messages(&link.name).await?;
        let own = |message: &AddressMessage| message.header.index == link.index;
        for message in dump.into_iter().filter(own) {
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
        let mut found = Vec::new();
        for message in self.address_messages("every address").await? {
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

/// The parts of a dump. `None`: what was dumped changed meanwhile, and some of it
/// may be missing (`NLM_F_DUMP_INTR`, netlink(7)).
async fn whole(
    parts: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>>,
) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
    let (mut found, mut interrupted) = (Vec::new(), false);
    let mut parts = pin!(parts);
    while let Some(part) = parts.next().await {
        let (header, payload) = part.into_parts();
        interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
        match payload {
            NetlinkPayload::InnerMessage(message) => found.push(message),
            NetlinkPayload::Done(done) if done.code == 0 => {
                return Ok((!interrupted).then_some(found));
            }
            NetlinkPayload::Done(done) => {
                return Err(io::Error::from_raw_os_error(done.code.saturating_abs()));
            }
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            NetlinkPayload::Overrun(_) => return Err(io::Error::other("the answer overran")),
            _ => {}
        }
    }
    // The socket is gone: what came so far is not all.
    Err(io::ErrorKind::UnexpectedEof.into())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::num::NonZeroI32;

    use netlink_packet_core::{DoneMessage, ErrorMessage, NLM_F_MULTIPART, NetlinkHeader};

    use super::*;

    type Part = NetlinkMessage<RouteNetlinkMessage>;

    fn part(flags: u16, payload: NetlinkPayload<RouteNetlinkMessage>) -> Part {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_MULTIPART | flags;
        NetlinkMessage::new(header, payload)
    }

    fn link(flags: u16) -> Part {
        let link = RouteNetlinkMessage::NewLink(LinkMessage::default());
        part(flags, NetlinkPayload::InnerMessage(link))
    }

    fn done(flags: u16, code: i32) -> Part {
        let mut message = DoneMessage::default();
        message.code = code;
        part(flags, NetlinkPayload::Done(message))
    }

    async fn read(parts: Vec<Part>) -> Result<Option<usize>, Option<i32>> {
        let dump = whole(futures::stream::iter(parts)).await;
        dump.map(|dump| dump.map(|all| all.len()))
            .map_err(|error| error.raw_os_error())
    }

    #[tokio::test]
    async fn only_a_dump_that_was_not_interrupted_is_whole() {
        let fine = vec![link(0), link(0), done(0, 0)];
        assert_eq!(read(fine).await, Ok(Some(2)));
        let early = vec![link(0), link(NLM_F_DUMP_INTR), done(0, 0)];
        assert_eq!(read(early).await, Ok(None));
        let late = vec![link(0), done(NLM_F_DUMP_INTR, 0)];
        assert_eq!(read(late).await, Ok(None));
    }

    #[tokio::test]
    async fn a_dump_that_ends_early_is_an_error_and_not_a_short_list() {
        assert_eq!(read(vec![link(0)]).await, Err(None));
        let failed = vec![link(0), done(0, -(Errno::ENOBUFS as i32))];
        assert_eq!(read(failed).await, Err(Some(Errno::ENOBUFS as i32)));
        let mut refused = ErrorMessage::default();
        refused.code = NonZeroI32::new(-(Errno::EPERM as i32));
        let refused = vec![part(0, NetlinkPayload::Error(refused))];
        assert_eq!(read(refused).await, Err(Some(Errno::EPERM as i32)));
    }

    #[test]
    fn an_index_is_found_by_name_or_is_none() {
        assert!(index("lo").unwrap().is_some());
        assert_eq!(index("bgr-nobody").unwrap(), None);
    }
}
