//! Which servers are asked, and that nobody is asked in a circle.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use hickory_proto::op::ResponseCode;
use tempfile::TempDir;

use super::*;
use crate::net::dns::resolvers::parse;

const CLIENT: IpAddr = IpAddr::V4(GUEST);

fn write(dir: &TempDir, file: &str, text: &str) -> PathBuf {
    let path = dir.path().join(file);
    // As programs do: a new file in the old one's place.
    let new = dir.path().join("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, &path).unwrap();
    path
}

fn of(resolvers: &Resolvers, client: IpAddr) -> Vec<String> {
    let servers = resolvers.of(client, SERVER);
    servers
        .iter()
        .map(|server| server.ip().to_string())
        .collect()
}

#[test]
fn a_resolv_conf_is_read_as_the_libraries_read_it() {
    let text = "# nameserver 192.0.2.9\n; x\nnameserver\t192.0.2.1 # x\n nameserver 2001:db8::1\n\
                nameserver\nnameserver here\nsearch example.org\nnameserver fe80::1%1\n";
    let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53"]
    );
}

#[test]
fn a_change_is_seen_at_the_next_question() {
    let dir = tempfile::tempdir().unwrap();
    let first = write(&dir, "first", "nameserver 192.0.2.1\n");
    let second = write(&dir, "second", "nameserver 192.0.2.2\n");
    let link = dir.path().join("resolv.conf");
    symlink(&first, &link).unwrap();
    let resolvers = Resolvers::files(&[&link, &second]);
    assert_eq!(of(&resolvers, CLIENT), ["192.0.2.1"]);
    write(
        &dir,
        "first",
        "nameserver 192.0.2.3\nnameserver 192.0.2.4\n",
    );
    assert_eq!(of(&resolvers, CLIENT), ["192.0.2.3", "192.0.2.4"]);
    // Written in place, to the same length.
    std::fs::write(&first, "nameserver 192.0.2.5\nnameserver 192.0.2.6\n").unwrap();
    assert_eq!(of(&resolvers, CLIENT), ["192.0.2.5", "192.0.2.6"]);
    let third = write(&dir, "third", "nameserver 192.0.2.7\n");
    std::fs::remove_file(&link).unwrap();
    symlink(&third, &link).unwrap();
    assert_eq!(of(&resolvers, CLIENT), ["192.0.2.7"]);
    std::fs::remove_file(&link).unwrap();
    assert_eq!(of(&resolvers, CLIENT), ["192.0.2.2"]);
}

#[test]
fn at_most_three_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (1..9)
        .map(|n| format!("nameserver 192.0.2.{n}\n"))
        .collect();
    let file = write(&dir, "resolv.conf", &text);
    assert_eq!(of(&Resolvers::files(&[&file]), CLIENT).len(), 3);
}

#[test]
fn neither_this_server_nor_the_client_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let stub = write(
        &dir,
        "stub",
        "nameserver 127.77.0.1\nnameserver 0.0.0.0\nnameserver ::ffff:127.77.0.1\nnameserver 127.0.0.53\n",
    );
    let upstreams = write(
        &dir,
        "upstreams",
        "nameserver 127.77.0.1\nnameserver 192.0.2.1\n",
    );
    let resolvers = Resolvers::files(&[&stub, &upstreams]);
    assert_eq!(of(&resolvers, CLIENT), ["127.0.0.53"]);
    // The host's own question: the stub may be who has sent it here.
    assert_eq!(of(&resolvers, SERVER.into()), ["192.0.2.1"]);

    // A guest that the host itself uses as its server.
    let guest = write(
        &dir,
        "guest",
        "nameserver 127.77.0.3\nnameserver 127.77.0.2\n",
    );
    let resolvers = Resolvers::files(&[&guest]);
    assert_eq!(of(&resolvers, CLIENT), ["127.77.0.3"]);
    assert_eq!(of(&resolvers, OTHER.into()), ["127.77.0.2"]);
    assert_eq!(
        of(&Resolvers::Fixed(vec![(SERVER, 53).into()]), CLIENT),
        [""; 0]
    );
}

#[tokio::test]
async fn without_a_server_to_ask_the_answer_comes_at_once() {
    let bench = Bench::start(Resolvers::Fixed(vec![(SERVER, 53).into()])).await;
    let answer = bench.ask(&query("example.org.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    let answer = bench.ask(&query("web.vm.", RecordType::A)).await;
    assert_eq!(answer.answers.len(), 1);
}

/// Packets are taken in order: by the time that the guest has its answer, the
/// stranger's question was looked at.
#[tokio::test]
async fn nobody_from_outside_is_answered() {
    let bench = Bench::start(Resolvers::Fixed(Vec::new())).await;
    let asked = bytes(&query("web.vm.", RecordType::A));
    let stranger = bench.client(Ipv4Addr::new(127, 78, 0, 2)).await;
    stranger.send(&asked).await.unwrap();
    let guest = bench.client(GUEST).await;
    guest.send(&asked).await.unwrap();
    receive(&guest).await;
    let host = bench.client(SERVER).await;
    host.send(&asked).await.unwrap();
    receive(&host).await;
    let none = stranger.try_recv(&mut [0; 512]).unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::WouldBlock);

    let mut stranger = bench.connect(Ipv4Addr::new(127, 78, 0, 2)).await;
    let _ = stranger.write_all(&asked).await;
    let ended = stranger.read(&mut [0; 1]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}
