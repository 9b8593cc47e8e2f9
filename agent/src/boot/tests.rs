#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Read;
use std::process::Command;

use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;

use super::disk::{Extent, extent_of};
use super::network::{address, address6, default_route, up};

#[test]
fn the_extent_is_what_mkfs_made() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-b", "4096"])
        .arg(&disk)
        .arg("24M")
        .status();
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED the_extent_is_what_mkfs_made: mkfs.ext4 is not installed");
            return;
        }
        other => assert!(other.unwrap().success()),
    }
    let mut head = vec![0; 2048];
    std::fs::File::open(&disk)
        .unwrap()
        .read_exact(&mut head)
        .unwrap();
    let expected = Extent {
        blocks: 6144,
        block_size: 4096,
    };
    assert_eq!(extent_of(&head[1024..]), Some(expected));
    head[1024 + 0x18] = 7;
    assert_eq!(extent_of(&head[1024..]), None);
    assert_eq!(extent_of(&[0; 1024]), None);
    assert_eq!(extent_of(&[]), None);
}

/// That the kernel does what they ask for is seen by booting a guest.
#[test]
fn the_requests_survive_the_wire() {
    for request in [
        up(3),
        address(3, "172.30.0.5".parse().unwrap(), 24),
        address(3, "172.30.0.5".parse().unwrap(), 32),
        address6(3, "fdba:ac1e:0:10::5".parse().unwrap(), 64),
        default_route(3, "172.30.0.1".parse().unwrap()),
        default_route(3, "fdba:ac1e:0:10::1".parse().unwrap()),
    ] {
        let mut message = NetlinkMessage::from(request.clone());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let back = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
        assert_eq!(back.payload, message.payload);
    }
}
