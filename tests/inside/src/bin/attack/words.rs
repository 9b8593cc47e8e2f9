//! Requests that ask for what isn't the owner's to choose.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Result, bail};
use banger_helper::client::Client;
use banger_protocol::{NetworkPolicy, Request, Response, Slot};
use rustix::net::{AddressFamily, SocketType};

use super::{Attack, framed, refused, socket, uid};

impl Attack {
    pub(super) fn slots(&self) -> Result<()> {
        for n in [60_000, u16::MAX] {
            let Ok(slot) = Slot::try_from(n) else {
                continue;
            };
            refused(
                "a slot beyond the subnet",
                &Request::EnsureTap { uid: uid(1), slot },
                &[],
            )?;
            let policy = NetworkPolicy {
                guests: [slot].into(),
                ..NetworkPolicy::default()
            };
            refused(
                "NAT for a slot beyond the subnet",
                &Request::from(policy),
                &[],
            )?;
        }
        let slot = Slot::try_from(self.arguments.victim_slot)?;
        refused(
            "another VM's slot",
            &Request::EnsureTap { uid: uid(1), slot },
            &[],
        )
    }

    pub(super) fn memory(&self) -> Result<()> {
        let file = self.own("boot")?;
        let bad = file.as_fd();
        for memory_mib in [0, 1 << 20, u32::MAX] {
            let request = Request::StartVmm {
                uid: uid(1),
                slot: Slot::try_from(self.arguments.victim_slot + 1)?,
                memory_mib,
                vcpus: 1,
                work_disk: false,
            };
            let mut client = Client::connect(socket())?;
            match client.call(&request, &[bad, bad, bad])? {
                Response::Error { error } if ["memory", "machine"].contains(&&*error.step) => {}
                answer => bail!("{memory_mib} MiB were answered with {answer:?}"),
            }
        }
        Ok(())
    }

    /// Programs, interfaces, names and addresses are root's to choose.
    pub(super) fn fields(&self) -> Result<()> {
        let vm = format!(r#""uid":"{}""#, self.arguments.victim);
        let start = r#""slot":1,"memoryMib":128,"vcpus":1,"workDisk":false"#;
        for body in [
            r#"{"op":"ensure-resolver","link":2}"#.to_owned(),
            r#"{"op":"ensure-resolver","interface":"eth0"}"#.to_owned(),
            r#"{"op":"ensure-resolver","domain":"."}"#.to_owned(),
            r#"{"op":"ensure-resolver","server":"203.0.113.1"}"#.to_owned(),
            r#"{"op":"remove-resolver","link":2}"#.to_owned(),
            r#"{"op":"ensure-dns","address":"0.0.0.0","port":22}"#.to_owned(),
            r#"{"op":"ensure-bridge","name":"eth0"}"#.to_owned(),
            r#"{"op":"ensure-bridge","subnet":"198.51.100.0/24"}"#.to_owned(),
            r#"{"op":"ensure-nat","guests":[],"rules":["accept"]}"#.to_owned(),
            r#"{"op":"inventory","install":"/home/owner/install.toml"}"#.to_owned(),
            format!(r#"{{"op":"start-vmm",{vm},{start},"firecracker":"/home/owner/firecracker"}}"#),
            format!(r#"{{"op":"start-vmm",{vm},{start},"jailer":"./jailer"}}"#),
            format!(r#"{{"op":"start-vmm",{vm},{start},"path":"/home/owner/bin"}}"#),
            format!(r#"{{"op":"start-vmm",{vm},{start},"user":0}}"#),
            format!(r#"{{"op":"kill-vmm",{vm},"pid":1}}"#),
            format!(r#"{{"op":"kill-vmm",{vm},"unit":"ssh.service"}}"#),
            // What a jail's path would be made of.
            r#"{"op":"remove-vmm","uid":"../../etc"}"#.to_owned(),
            format!(r#"{{"op":"start-vmm","uid":"../../etc",{start}}}"#),
        ] {
            let mut client = Client::connect(socket())?;
            match client.call_raw(&framed(body.as_bytes()), &[]) {
                Ok(Response::Error { error }) if error.op == "frame" => {}
                answer => bail!("{body} was answered with {answer:?}"),
            }
        }
        Ok(())
    }

    /// Only the DNS server's sockets are bound, and only where they belong.
    pub(super) fn sockets(&self) -> Result<()> {
        let new = |family, kind| rustix::net::socket(family, kind, None);
        let bound = |kind, port| -> Result<OwnedFd> {
            let socket = new(AddressFamily::INET, kind)?;
            rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
            Ok(socket)
        };
        let udp = || new(AddressFamily::INET, SocketType::DGRAM);
        let tcp = || new(AddressFamily::INET, SocketType::STREAM);
        for (what, first, second) in [
            ("the wrong way round", tcp()?, udp()?),
            ("two of UDP", udp()?, udp()?),
            (
                "IPv6",
                new(AddressFamily::INET6, SocketType::DGRAM)?,
                new(AddressFamily::INET6, SocketType::STREAM)?,
            ),
            (
                "bound elsewhere",
                bound(SocketType::DGRAM, 5399)?,
                bound(SocketType::STREAM, 5399)?,
            ),
            (
                "of no network",
                new(AddressFamily::UNIX, SocketType::DGRAM)?,
                new(AddressFamily::UNIX, SocketType::STREAM)?,
            ),
            (
                "no sockets",
                self.own("udp")?.into(),
                self.own("tcp")?.into(),
            ),
        ] {
            let what = format!("sockets: {what}");
            let request = Request::EnsureDns {};
            refused(&what, &request, &[first.as_fd(), second.as_fd()])?;
        }
        Ok(())
    }
}
