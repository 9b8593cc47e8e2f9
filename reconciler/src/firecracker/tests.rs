//! Against an HTTP server that writes down what it is asked.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

use super::socket::{connect, listen};
use super::{ApiError, Client, InstanceState, Machine, Put, VmState};

const LIMIT: Duration = Duration::from_secs(5);

type Asked = Arc<Mutex<Vec<String>>>;

/// Answers every request with this status and body.
fn serve(directory: &Path, status: u16, body: impl Into<Bytes>) -> Asked {
    let listener = UnixListener::bind(directory.join("fc.sock")).unwrap();
    let asked = Asked::default();
    let (seen, body) = (Arc::clone(&asked), body.into());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let (seen, body) = (Arc::clone(&seen), body.clone());
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                let sent = request.into_body().collect().await.unwrap().to_bytes();
                let sent = String::from_utf8(sent.to_vec()).unwrap();
                seen.lock().unwrap().push(format!("{line} {sent}"));
                let answer = Response::builder().status(status).body(Full::new(body));
                Ok::<_, Infallible>(answer.unwrap())
            }
        });
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await
    });
    asked
}

async fn client(directory: &Path) -> Client {
    let stream = connect(directory, "fc.sock").await.unwrap();
    Client::new(stream, LIMIT).await.unwrap()
}

fn machine() -> Machine {
    Machine {
        vcpus: 2,
        memory_mib: 512,
        work_disk: true,
        tap: "bgr7".into(),
        mac: [0x02, 0xba, 172, 30, 0, 8],
        cid: 9,
    }
}

#[tokio::test]
async fn the_requests_that_make_a_machine() {
    let directory = tempfile::tempdir().unwrap();
    let asked = serve(directory.path(), 204, "");
    let mut api = client(directory.path()).await;
    api.put(&Put::metrics()).await.unwrap();
    for put in machine().puts() {
        api.put(&put).await.unwrap();
    }
    api.put(&Put::instance_start()).await.unwrap();
    insta::assert_snapshot!(asked.lock().unwrap().join("\n"), @r#"
    PUT /metrics {"metrics_path":"/s/metrics"}
    PUT /machine-config {"mem_size_mib":512,"smt":false,"track_dirty_pages":false,"vcpu_count":2}
    PUT /boot-source {"boot_args":"console=ttyS0 reboot=k panic=1 pci=off quiet i8042.noaux i8042.nokbd cryptomgr.notests root=/dev/vda rw","initrd_path":"/initrd","kernel_image_path":"/kernel"}
    PUT /drives/root {"cache_type":"Writeback","drive_id":"root","is_read_only":false,"is_root_device":false,"path_on_host":"/rootdrive"}
    PUT /drives/work {"cache_type":"Writeback","drive_id":"work","is_read_only":false,"is_root_device":false,"path_on_host":"/workdrive"}
    PUT /network-interfaces/eth0 {"guest_mac":"02:ba:ac:1e:00:08","host_dev_name":"bgr7","iface_id":"eth0"}
    PUT /vsock {"guest_cid":9,"uds_path":"/s/v.sock"}
    PUT /actions {"action_type":"InstanceStart"}
    "#);
}

#[test]
fn no_work_drive_without_a_work_disk() {
    let without = Machine {
        work_disk: false,
        ..machine()
    };
    assert!(
        !without
            .puts()
            .iter()
            .any(|put| put.resource == "/drives/work")
    );
}

#[tokio::test]
async fn the_state_of_the_instance() {
    for (text, state) in [
        ("Not started", InstanceState::NotStarted),
        ("Running", InstanceState::Running),
        ("Paused", InstanceState::Paused),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let body = format!(r#"{{"id":"x","state":"{text}","vmm_version":"1.12.1"}}"#);
        serve(directory.path(), 200, body);
        assert_eq!(
            client(directory.path()).await.instance().await.unwrap(),
            state
        );
    }
}

#[tokio::test]
async fn a_refusal_says_what_firecracker_said() {
    let directory = tempfile::tempdir().unwrap();
    serve(
        directory.path(),
        400,
        r#"{"fault_message":"Open tap device failed:\n\u001b[31mResource busy"}"#,
    );
    let error = client(directory.path())
        .await
        .put(&Put::instance_start())
        .await
        .unwrap_err();
    insta::assert_snapshot!(error, @"Firecracker refused /actions (400): Open tap device failed:  [31mResource busy");
}

#[tokio::test]
async fn a_second_metrics_file_is_told_from_one_that_cannot_be_written() {
    for (fault, already) in [
        (
            "Cannot initialize the metrics system due to bad user input: Reinitialization of metrics not allowed.",
            true,
        ),
        (
            "Cannot initialize the metrics system due to bad user input: Permission denied (os error 13)",
            false,
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        serve(
            directory.path(),
            400,
            format!(r#"{{"fault_message":"{fault}"}}"#),
        );
        let error = client(directory.path()).await.put(&Put::metrics()).await;
        assert_eq!(error.unwrap_err().has_metrics_already(), already, "{fault}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    serve(directory.path(), 200, vec![b' '; 1 << 20]);
    let error = client(directory.path()).await.instance().await.unwrap_err();
    assert!(matches!(error, ApiError::Answer(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_api_that_says_nothing_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let _silent = UnixListener::bind(directory.path().join("fc.sock")).unwrap();
    let error = client(directory.path()).await.instance().await.unwrap_err();
    assert!(matches!(error, ApiError::TimedOut(LIMIT)), "{error:?}");
}

#[tokio::test]
async fn a_link_in_the_place_of_a_socket_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("precious.sock");
    let _precious = UnixListener::bind(&target).unwrap();
    std::os::unix::fs::symlink(&target, directory.path().join("fc.sock")).unwrap();
    assert!(connect(directory.path(), "fc.sock").await.is_err());
    // To listen replaces the link and not what it leads to.
    let _listener = listen(directory.path(), "fc.sock").unwrap();
    assert!(target.exists());
    connect(directory.path(), "fc.sock").await.unwrap();
    let mode = std::fs::metadata(directory.path().join("fc.sock")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
    assert_eq!(mode & 0o777, 0o666);
}

#[tokio::test]
async fn a_guest_is_told_to_stand_still_and_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let asked = serve(directory.path(), 204, "");
    let mut api = client(directory.path()).await;
    for state in [VmState::Paused, VmState::Resumed] {
        api.set_vm_state(state).await.unwrap();
    }
    insta::assert_snapshot!(asked.lock().unwrap().join("\n"), @r#"
    PATCH /vm {"state":"Paused"}
    PATCH /vm {"state":"Resumed"}
    "#);
}
