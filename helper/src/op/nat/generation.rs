//! The generation of the network namespace's nftables, which the kernel counts up
//! with every transaction, whoever's it is (`nf_tables_commit`,
//! `net/netfilter/nf_tables_api.c`). Where it is the same before and after, nothing
//! has changed. It begins anew with each boot.

use netlink_packet_core::{NLM_F_REQUEST, NetlinkBuffer, NlasIterator, parse_u32_be};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd as _;

use crate::Failure;

/// `NFNL_SUBSYS_NFTABLES << 8` (`linux/netfilter/nfnetlink.h`).
const NFTABLES: u16 = 10 << 8;
/// `NFT_MSG_NEWGEN`, `NFT_MSG_GETGEN` and `NFTA_GEN_ID` (`linux/netfilter/nf_tables.h`).
const NEW: u16 = NFTABLES | 15;
const GET: u16 = NFTABLES | 16;
const ID: u16 = 1;
/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADER: usize = 16;
const FAMILY: usize = 4;

/// One generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u32);

impl Generation {
    /// The one that stands now.
    pub(super) fn now() -> Result<Self, Failure> {
        let os = |call| move |e: nix::Error| Failure::os("NFT_MSG_GETGEN", call, e);
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .map_err(os("socket"))?;
        let mut request = [0; HEADER + FAMILY];
        let mut message = NetlinkBuffer::new(&mut request[..]);
        message.set_length((HEADER + FAMILY) as u32);
        message.set_message_type(GET);
        message.set_flags(NLM_F_REQUEST);
        let kernel = NetlinkAddr::new(0, 0);
        sendto(socket.as_raw_fd(), &request, &kernel, MsgFlags::empty()).map_err(os("send"))?;
        // The kernel has answered by the time that the call returns.
        let mut answer = [0; 256];
        let length =
            recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT).map_err(os("receive"))?;
        read(&answer[..length]).ok_or_else(|| {
            Failure::later(
                "NFT_MSG_GETGEN",
                "the kernel's answer names no generation of its nftables",
            )
        })
    }
}

fn read(answer: &[u8]) -> Option<Generation> {
    let message = NetlinkBuffer::new_checked(answer).ok()?;
    if message.message_type() != NEW {
        return None;
    }
    let attributes = message.payload().get(FAMILY..)?;
    let id = NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|it| it.kind() == ID)?;
    parse_u32_be(id.value()).ok().map(Generation)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn answer(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + FAMILY];
        bytes.extend(attributes);
        let length = u32::try_from(bytes.len()).unwrap();
        let mut message = NetlinkBuffer::new(&mut bytes[..]);
        message.set_length(length);
        message.set_message_type(kind);
        bytes
    }

    #[test]
    fn the_answer_has_it_among_other_attributes() {
        let name = [9, 0, 3, 0, b'n', b'f', b't', b's', 0, 0, 0, 0];
        let id = [8, 0, 1, 0, 0, 0, 1, 2];
        let both = [&name[..], &id[..]].concat();
        assert_eq!(read(&answer(NEW, &both)), Some(Generation(258)));
        assert_eq!(read(&answer(NEW, &name)), None);
        // An error has another type, and what is cut short is no answer.
        assert_eq!(read(&answer(2, &both)), None);
        let whole = answer(NEW, &both);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "{length}");
        }
    }
}
