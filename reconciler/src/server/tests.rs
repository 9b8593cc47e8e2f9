#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use banger_core::admit::Rules;
use banger_core::api::status::{Object, Phase};
use banger_core::api::{Kind, Name};
use banger_core::config::VmDefaults;
use banger_core::pressure::DiskLimits;
use banger_core::status::Paths;
use banger_testkit::FakeHost;
use futures::FutureExt as _;
use nix::libc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::frame::{self, FrameError};
use super::serve::admit;
use super::{Identity, Socket, serve};
use crate::client::{CallError, Daemon};
use crate::controller::{BootClock, Controller, Settings};
use crate::sandbox::Landlock;
use crate::store::Store;
use crate::wire::request::Power;
use crate::wire::response::{Code, Response};
use crate::wire::{MAX_FRAME, Request};

const SPECS: &str = "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian}\n\
     spec: {rootfs: {disk: {path: /srv/debian.ext4}}}\n---\n\
     apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\n\
     spec: {image: debian}\n";

/// A daemon with its socket, on a simulated host.
struct Running {
    root: tempfile::TempDir,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["state", "vms", "images"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        let state_dir = root.path().join("state");
        let (store, loaded) = Store::open(&state_dir).unwrap();
        let settings = Settings {
            directories: ["vms", "images"]
                .map(|name| root.path().join(name))
                .to_vec(),
            home: root.path().to_owned(),
            rules: Rules {
                subnet: "172.30.0.0/16".parse().unwrap(),
                slots: 100,
                defaults: VmDefaults::default(),
            },
            paths: Paths {
                state_dir,
                known_hosts: "/home/owner/known_hosts".into(),
            },
            trash_keep: Duration::from_secs(7 * 86_400),
            memory_headroom: 0,
            pool: None,
            disk: DiskLimits::default(),
            max_chains: 2,
            guest_to_guest: true,
            ipv6: true,
            resync: Duration::from_secs(60),
            patience: Duration::from_secs(5),
        };
        let host = Arc::new(FakeHost::new());
        let (controller, handle) =
            Controller::new(host, store, loaded, settings, BootClock::system());
        let socket = Socket::bind(&root.path().join("s")).unwrap();
        let identity = Identity {
            simulated: true,
            helper: Arc::new(|| Box::pin(async { Err("there is none".into()) })),
            landlock: Landlock::Full { abi: 6 },
        };
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(serve(socket, handle, identity, stop.clone())),
            tokio::spawn(controller.run(stop.clone()).map(drop)),
        ];
        Self { root, stop, tasks }
    }

    fn socket(&self) -> PathBuf {
        self.root.path().join("s")
    }

    /// What a client does, away from the runtime.
    async fn client<T: Send + 'static>(
        &self,
        call: impl FnOnce(Daemon) -> T + Send + 'static,
    ) -> T {
        let daemon = Daemon::at(self.socket());
        tokio::task::spawn_blocking(move || call(daemon))
            .await
            .unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        assert!(!self.root.path().join("s").exists());
    }
}

fn web() -> Name {
    "web".parse().unwrap()
}

fn code(error: CallError) -> Code {
    match error {
        CallError::Answer { code, .. } => code,
        other => panic!("no answer: {other:?}"),
    }
}

#[tokio::test]
async fn a_client_gets_through_a_vms_life() {
    let running = Running::start().await;
    let file = running.root.path().join("vms/all.yaml");
    running
        .client(move |daemon| {
            let version = daemon.version().unwrap();
            assert!(version.simulated);
            assert_eq!(version.helper, Err("there is none".into()));
            assert_eq!(version.landlock, Some(Landlock::Full { abi: 6 }));
            let missing = daemon.one(Kind::VirtualMachine, &web()).unwrap_err();
            assert_eq!(code(missing), Code::NotFound);

            fs::write(&file, SPECS).unwrap();
            let synced = daemon.sync().unwrap();
            let names: Vec<_> = synced
                .admitted
                .iter()
                .map(|one| one.name.as_str())
                .collect();
            assert_eq!(names, ["debian", "web"]);
            // A watch shows the VM until it is ready.
            let mut watch = daemon.watch(Kind::VirtualMachine, Some(&web())).unwrap();
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            let mut until = |phase| {
                let reached = |vm: &Object| vm.status.phase == phase;
                while !watch
                    .next(Some(deadline))
                    .unwrap()
                    .objects
                    .iter()
                    .any(reached)
                {}
            };
            until(Phase::Ready);
            let mut reasons = Vec::new();
            let vm = Some((Kind::VirtualMachine, web()));
            let all = |event: crate::wire::response::Event| {
                reasons.push(event.reason);
                true
            };
            daemon.events(vm.clone(), false, all).unwrap();
            assert_eq!(reasons, ["Admitted", "Creating", "Ready"]);
            // A follower sees what comes, too.
            daemon.power(&web(), Power::Stop).unwrap();
            let mut seen = Vec::new();
            daemon
                .events(vm, true, |event| {
                    seen.push(event.reason.clone());
                    event.reason != "Stopping"
                })
                .unwrap();
            assert_eq!(seen[3..], ["StopRequested", "Stopping"]);

            until(Phase::Stopped);
            assert!(daemon.diff(vec![]).unwrap().is_empty());
            let report = daemon.inventory().unwrap();
            assert!(report.is_exact(), "{report:#?}");
            assert_eq!(report.adoption, Some(Default::default()));
            let collected = daemon.collect(false, [].into()).unwrap();
            assert_eq!((collected.removed, collected.left), (vec![], vec![]));
            let nobody = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f".parse().unwrap();
            let refused = daemon.collect(false, [nobody].into());
            assert_eq!(code(refused.unwrap_err()), Code::NotFound);
            let refused = daemon.delete(Kind::VirtualMachine, &web(), false);
            assert_eq!(code(refused.unwrap_err()), Code::Conflict);
            fs::remove_file(&file).unwrap();
            daemon.delete(Kind::VirtualMachine, &web(), false).unwrap();
            while !watch.next(Some(deadline)).unwrap().objects.is_empty() {}
        })
        .await;
    running.end().await;
}

#[tokio::test]
async fn what_is_no_request_is_answered_or_hung_up_on() {
    let running = Running::start().await;
    let socket = running.socket();
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    tokio::task::spawn_blocking(move || {
        let talk = |bytes: &[u8]| {
            let mut stream = StdStream::connect(&socket).unwrap();
            stream.write_all(bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            // The daemon may hang up without having read it all.
            let _ = stream.read_to_end(&mut answer);
            answer
        };
        let framed = |text: &str| {
            let mut frame = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
            frame.extend(text.as_bytes());
            frame
        };
        for text in [
            "",
            "{",
            "[]",
            r#"{"request":"format"}"#,
            r#"{"request":"sync","x":1}"#,
        ] {
            let answer = talk(&framed(text));
            let response: Response = serde_json::from_slice(&answer[4..]).unwrap();
            assert!(
                matches!(
                    response,
                    Response::Error {
                        code: Code::Invalid,
                        ..
                    }
                ),
                "{text}"
            );
        }
        assert!(talk(&[]).is_empty());
        assert!(talk(&[0, 0]).is_empty());
        assert!(talk(&[0, 0, 0, 9, b'{']).is_empty());
        assert!(talk(&u32::MAX.to_be_bytes()).is_empty());
    })
    .await
    .unwrap();
    running.client(|daemon| daemon.version().unwrap()).await;
    running.end().await;
}

#[test]
fn the_owner_and_root_may_speak_and_nobody_else() {
    for (uid, own, may) in [
        (1000, 1000, true),
        (0, 1000, true),
        (0, 0, true),
        (1001, 1000, false),
        (1000, 0, false),
        (65534, 1000, false),
        (u32::MAX, 1000, false),
    ] {
        assert_eq!(admit(uid, own).is_ok(), may, "{uid} to {own}'s");
    }
    let why = admit(1001, 1000).unwrap_err();
    assert_eq!(why, "user 1001 is not the owner");
}

/// Through the socket, whose mode is not what keeps a stranger out here: the
/// daemon hangs up before it reads, so that not even a wrong frame is answered.
#[tokio::test]
async fn a_stranger_who_gets_at_the_socket_is_hung_up_on() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED a_stranger_who_gets_at_the_socket_is_hung_up_on: needs root");
        return;
    }
    let running = Running::start().await;
    let socket = running.socket();
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    open(running.root.path(), 0o755);
    open(&socket, 0o666);
    let ask = move |uid: u32| {
        let socket = socket.clone();
        let asking = std::thread::spawn(move || {
            // The raw system call changes this one thread; the C library's would
            // change all of them.
            // SAFETY: three plain numbers.
            let done = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
            assert_eq!(done, 0);
            let mut stream = StdStream::connect(&socket).unwrap();
            // It may have hung up already.
            let _ = stream.write_all(&[0, 0, 0, 1, b'{']);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            answer
        });
        asking.join().unwrap()
    };
    let (stranger, root) = tokio::task::spawn_blocking(move || (ask(4711), ask(0)))
        .await
        .unwrap();
    assert_eq!(stranger, b"");
    assert_ne!(root, b"");
    running.end().await;
}

#[tokio::test]
async fn those_who_watch_leave_room_for_others() {
    let running = Running::start().await;
    running
        .client(|daemon| {
            let mut watches = Vec::new();
            let refused = loop {
                let mut watch = daemon.watch(Kind::VirtualMachine, None).unwrap();
                match watch.next(None) {
                    Ok(_) => watches.push(watch),
                    Err(refused) => break refused,
                }
            };
            assert_eq!(watches.len(), 96);
            assert_eq!(code(refused), Code::Conflict);
            daemon.version().unwrap();
            daemon.diff(vec![]).unwrap();
            // One that ends makes room.
            watches.pop();
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            while daemon
                .watch(Kind::VirtualMachine, None)
                .unwrap()
                .next(None)
                .is_err()
            {
                assert!(std::time::Instant::now() < deadline);
            }
        })
        .await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_given_up() {
    let (mut ours, _theirs) = tokio::io::duplex(64);
    let error = frame::read::<Request>(&mut ours).await.unwrap_err();
    assert!(matches!(error, FrameError::Slow), "{error:?}");
    let error = frame::write(&mut ours, &"x".repeat(1000))
        .await
        .unwrap_err();
    assert!(matches!(error, FrameError::Slow), "{error:?}");
}

#[tokio::test]
async fn a_frame_beyond_the_cap_is_not_written() {
    let (mut ours, _theirs) = tokio::io::duplex(64);
    let long = "x".repeat(MAX_FRAME);
    let error = frame::write(&mut ours, &long).await.unwrap_err();
    assert!(matches!(error, FrameError::TooLong(_)), "{error:?}");
}
