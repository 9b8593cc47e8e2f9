#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use banger_agent_protocol::{
    AgentRequest, AgentResponse, Boot, GuestConfig, GuestIpv6, Leaving, MAX_FRAME, Readiness,
};
use banger_core::observed::Guest;
use banger_protocol::VmUid;
use banger_protocol::inventory::Process;
use banger_testkit::generate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::agent::{AgentError, converse};
use super::attendant::Attendant;
use super::channel::{AT_ONCE, Channel};
use super::word::Word;
use super::{frame, known_hosts, nameservers};
use crate::act::layout::Layout;
use crate::firecracker::socket;

fn uid() -> VmUid {
    generate::uid(1)
}

fn guest_config() -> GuestConfig {
    GuestConfig {
        hostname: "web".into(),
        uid: uid().to_string(),
        address: [172, 30, 0, 2].into(),
        prefix: 16,
        gateway: [172, 30, 0, 1].into(),
        ipv6: None,
        nameservers: Vec::new(),
        search: vec!["vm".into()],
        work_disk: false,
        authorized_keys: vec!["ssh-ed25519 AAAA".into()],
        env: Default::default(),
        files: Vec::new(),
        now_ns: 0,
    }
}

struct Host {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
    changed: Arc<Notify>,
    channel: Arc<Channel>,
}

/// A host that serves one guest.
fn host() -> Host {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let changed = Arc::new(Notify::new());
    let channel = Arc::new(Channel {
        uid: uid(),
        word: Arc::new(Word::silent(Arc::clone(&changed))),
        known_hosts: path.join("known_hosts").join(uid().to_string()),
        leaving: path.join("leaving"),
        config: Mutex::new(guest_config()),
        addresses: Mutex::default(),
    });
    let listener = socket::listen(&path, "v.sock_1024").unwrap();
    tokio::spawn(Arc::clone(&channel).serve(listener));
    Host {
        _directory: directory,
        path,
        changed,
        channel,
    }
}

async fn dial(host: &Host) -> UnixStream {
    socket::connect(&host.path, "v.sock_1024").await.unwrap()
}

async fn say(host: &Host, message: &Boot) {
    let mut stream = dial(host).await;
    frame::write(&mut stream, message).await.unwrap();
    let answer: serde_json::Value = frame::read(&mut stream).await.unwrap();
    assert_eq!(answer, serde_json::json!({}));
}

#[tokio::test]
async fn a_guest_learns_who_it_is_and_what_time() {
    let host = host();
    let mut stream = dial(&host).await;
    let hello = Boot::Hello {
        agent: "0.1.0".into(),
    };
    frame::write(&mut stream, &hello).await.unwrap();
    let mut got: GuestConfig = frame::read(&mut stream).await.unwrap();
    assert!(std::mem::take(&mut got.now_ns) > 0);
    assert_eq!(got, guest_config());
    assert_eq!(host.channel.word.last(), Guest::Silent);
}

#[tokio::test]
async fn a_ready_guest_is_pinned_and_asks_for_a_pass() {
    let host = host();
    let host_keys = vec![
        "ssh-ed25519 AAAAC3Nz root@guest".to_owned(),
        "ssh-rsa AAAA\n* ssh-rsa EVIL".to_owned(),
        "* ssh-ed25519 AAAA".to_owned(),
        "@cert-authority * ssh-rsa AAAA".to_owned(),
    ];
    say(
        &host,
        &Boot::Ready {
            host_keys,
            ssh: true,
            ipv6: Vec::new(),
        },
    )
    .await;
    assert_eq!(host.channel.word.last(), Guest::Ready);
    host.changed.notified().await;
    let pinned = std::fs::read_to_string(&host.channel.known_hosts).unwrap();
    let name = known_hosts::alias(uid());
    assert_eq!(
        pinned,
        format!("{name} ssh-ed25519 AAAAC3Nz\n{name} ssh-rsa AAAA\n")
    );
}

/// Only the address that it was given counts, whatever else a guest says it has.
#[tokio::test]
async fn a_guest_has_ipv6_once_it_says_so() {
    let host = host();
    let ready = |addresses: &[&str]| Boot::Ready {
        host_keys: Vec::new(),
        ssh: false,
        ipv6: addresses.iter().map(|it| it.parse().unwrap()).collect(),
    };
    let own = "fdba:ac1e:0:10::2";
    say(&host, &ready(&[own])).await;
    assert_eq!(host.channel.ipv6(), None, "it was given none");
    host.channel.config.lock().unwrap().ipv6 = Some(GuestIpv6 {
        address: own.parse().unwrap(),
        prefix: 64,
        gateway: "fdba:ac1e:0:10::1".parse().unwrap(),
    });
    assert_eq!(host.channel.ipv6(), own.parse().ok());
    say(&host, &ready(&["fdba:ac1e:0:10::3"])).await;
    assert_eq!(host.channel.ipv6(), None);
    // An older agent says nothing of it.
    let old = serde_json::from_str(r#"{"kind":"ready","hostKeys":[],"ssh":false}"#).unwrap();
    say(&host, &ready(&["2001:db8::1", own])).await;
    assert_eq!(host.channel.ipv6(), own.parse().ok());
    say(&host, &old).await;
    assert_eq!(host.channel.ipv6(), None);
}

#[tokio::test]
async fn a_failure_and_an_end_are_kept_clean() {
    let host = host();
    say(
        &host,
        &Boot::Failed {
            stage: "mount\x1b[2J".into(),
            message: "no\nroot".into(),
        },
    )
    .await;
    assert_eq!(
        host.channel.word.last(),
        Guest::Failed {
            stage: "mount [2J".into(),
            message: "no root".into()
        }
    );
    let how = Leaving::Poweroff;
    say(&host, &Boot::Leaving { how }).await;
    assert_eq!(host.channel.word.last(), Guest::Leaving);
    assert!(host.path.join("leaving").exists());
}

#[tokio::test]
async fn an_agent_is_lost_only_after_it_was_there() {
    let word = Word::silent(Arc::new(Notify::new()));
    word.lost("three pings".into());
    assert_eq!(word.last(), Guest::Silent);
    word.say(Guest::Ready);
    word.lost("three pings".into());
    assert_eq!(word.last(), Guest::Lost("three pings".into()));
}

#[tokio::test]
async fn nonsense_is_dropped_and_the_next_message_is_heard() {
    let host = host();
    let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
    for nonsense in [&too_long[..], b"\0\0\0\x02{}", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = dial(&host).await;
        stream.write_all(nonsense).await.unwrap();
        let mut answer = Vec::new();
        // Ended or reset by the host; no answer either way.
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    }
    let host_keys = Vec::new();
    say(
        &host,
        &Boot::Ready {
            host_keys,
            ssh: false,
            ipv6: Vec::new(),
        },
    )
    .await;
    assert_eq!(host.channel.word.last(), Guest::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_hoards_connections_only_delays_itself() {
    let host = host();
    let mut hoard = Vec::new();
    for _ in 0..AT_ONCE * 3 {
        hoard.push(dial(&host).await);
    }
    // Each of them is dropped at its deadline, then the word gets through.
    let host_keys = Vec::new();
    say(
        &host,
        &Boot::Ready {
            host_keys,
            ssh: false,
            ipv6: Vec::new(),
        },
    )
    .await;
    assert_eq!(host.channel.word.last(), Guest::Ready);
}

/// Firecracker's side of a connection, and the guest's behind it.
async fn firecracker(mut stream: UnixStream, line: &str, answer: Option<AgentResponse>) {
    let mut connect = [0; 13];
    stream.read_exact(&mut connect).await.unwrap();
    assert_eq!(&connect, b"CONNECT 1024\n");
    stream.write_all(line.as_bytes()).await.unwrap();
    if let Some(answer) = answer {
        let request: AgentRequest = frame::read(&mut stream).await.unwrap();
        assert_eq!(request, AgentRequest::Ping);
        frame::write(&mut stream, &answer).await.unwrap();
    }
}

#[tokio::test]
async fn the_agent_is_asked_through_firecracker() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let pong = AgentResponse::Pong {
        agent: "0.1.0".into(),
        uptime_seconds: 3,
        ready: None,
    };
    let (answer, ()) = tokio::join!(
        converse(ours, &AgentRequest::Ping),
        firecracker(theirs, "OK 1073741824\n", Some(pong.clone())),
    );
    assert_eq!(answer.unwrap(), pong);
}

#[tokio::test]
async fn a_guest_without_agent_is_told_from_a_silent_one() {
    for line in ["", "NO\n", "an endless line without an end"] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (answer, ()) = tokio::join!(
            converse(ours, &AgentRequest::Ping),
            firecracker(theirs, line, None),
        );
        assert!(matches!(answer, Err(AgentError::NoAgent)), "{line:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_answer_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let _vsock = UnixListener::bind(directory.path().join("v.sock")).unwrap();
    let limit = Duration::from_secs(5);
    let asked = super::agent::ask(directory.path(), &AgentRequest::Ping, limit).await;
    assert!(matches!(asked, Err(AgentError::TimedOut(l)) if l == limit));
}

#[test]
fn only_servers_that_a_guest_can_reach() {
    let text = "# stub\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0\n\
                nameserver 10.0.2.3\nnameserver 9.9.9.9 # quad\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n";
    let found = nameservers::parse(text);
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], std::net::Ipv4Addr::new(10, 0, 2, 3));
    assert!(nameservers::parse("nameserver 127.0.0.53\n").is_empty());
}

#[tokio::test]
async fn the_owners_key_is_made_once() {
    let home = tempfile::tempdir().unwrap();
    let key = super::owner_key::OwnerKey::of_home(home.path());
    let first = key.public().await.unwrap();
    assert!(first.starts_with("ssh-ed25519 AAAA"), "{first}");
    assert!(first.ends_with(" banger"), "{first}");
    // A pair that lost its public half, as after a crash, is made anew.
    assert_eq!(key.public().await.unwrap(), first);
    let private = home.path().join(super::owner_key::PRIVATE);
    assert_eq!(mode(&private), 0o600);
    std::fs::remove_file(private.with_extension("pub")).unwrap();
    let second = key.public().await.unwrap();
    assert!(second.starts_with("ssh-ed25519 AAAA"));
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Answers every ping, the guest being ready or not; counts them.
fn answering(directory: &Path, ready: Option<Readiness>) -> Arc<Mutex<u32>> {
    let listener = UnixListener::bind(directory.join("v.sock")).unwrap();
    let pings = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&pings);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let pong = AgentResponse::Pong {
                agent: "0.1.0".into(),
                uptime_seconds: 3,
                ready: ready.clone(),
            };
            firecracker(stream, "OK 1073741824\n", Some(pong)).await;
            *counted.lock().unwrap() += 1;
        }
    });
    pings
}

fn layout(directory: &Path) -> Layout {
    let [state, run, home] = ["state", "run", "home"].map(|name| directory.join(name));
    Layout::new(state, run, home.join(known_hosts::DIRECTORY))
}

/// As where an earlier daemon had them elsewhere, or the owner has removed them.
#[tokio::test]
async fn keys_of_a_guest_that_was_ready_before_are_pinned_again() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(directory.path());
    let sockets = layout.sockets(uid());
    std::fs::create_dir_all(&sockets).unwrap();
    let readiness = Readiness {
        host_keys: vec!["ssh-ed25519 AAAA".to_owned()],
        ssh: true,
        ipv6: Vec::new(),
    };
    answering(&sockets, Some(readiness));
    let process = Process {
        pid: 7,
        start_time: 7,
    };
    let changed = Arc::new(Notify::new());
    let told = Arc::clone(&changed);
    let attendant = Attendant::attend(&layout, uid(), process, guest_config(), told).unwrap();
    let ready = tokio::time::timeout(Duration::from_secs(10), changed.notified());
    ready.await.unwrap();
    assert_eq!(attendant.word(), Guest::Ready);
    let file = layout.known_hosts(uid());
    let below_home = format!("home/.local/state/banger/known_hosts/{}", uid());
    assert_eq!(file, directory.path().join(below_home));
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        known_hosts::text(uid(), &["ssh-ed25519 AAAA".to_owned()])
    );
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_stands_still_misses_no_ping() {
    let directory = tempfile::tempdir().unwrap();
    let layout = layout(directory.path());
    let sockets = layout.sockets(uid());
    std::fs::create_dir_all(&sockets).unwrap();
    let pings = answering(&sockets, None);
    let process = Process {
        pid: 7,
        start_time: 7,
    };
    let changed = Arc::new(Notify::new());
    let attendant = Attendant::attend(&layout, uid(), process, guest_config(), changed).unwrap();
    let a_minute = || tokio::time::sleep(Duration::from_secs(60));
    let count = || *pings.lock().unwrap();
    a_minute().await;
    let before = count();
    assert!(before >= 5, "{before} pings");

    attendant.hold_pulse(true);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let before = count();
    for _ in 0..10 {
        a_minute().await;
        attendant.hold_pulse(true);
    }
    assert_eq!(count(), before, "it was asked while it stood still");

    attendant.hold_pulse(false);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(count() > before, "it isn't asked at once");
}
