#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;

use crate::{
    AgentRequest, AgentResponse, Boot, GuestConfig, GuestFile, GuestIpv6, Leaving, MAX_FRAME,
    Readiness, base64, frame,
};

#[test]
fn base64_says_what_the_rfc_says() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64::encode(bytes.as_bytes()), text);
        assert_eq!(base64::decode(text).unwrap(), bytes.as_bytes());
    }
    for wrong in [
        "Zg", "Zg=", "Zh==", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm-v",
    ] {
        assert_eq!(base64::decode(wrong), None, "{wrong}");
    }
}

#[test]
fn a_frame_beyond_the_cap_is_refused_before_its_body() {
    let header = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
    let error = frame::read::<Boot>(&header[..]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let long = Boot::Hello {
        agent: "x".repeat(MAX_FRAME),
    };
    let error = frame::encode(&long).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn an_end_between_frames_is_no_error_and_within_one_is() {
    assert!(frame::read_or_end::<Boot>(&[][..]).unwrap().is_none());
    let whole = frame::encode(&Boot::Leaving {
        how: Leaving::Reboot,
    })
    .unwrap();
    for cut in 1..whole.len() {
        let error = frame::read_or_end::<Boot>(&whole[..cut]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{cut}");
    }
}

#[test]
fn the_wire_stays_what_it_is() {
    let json = |value: serde_json::Result<String>| value.unwrap();
    assert_eq!(
        json(serde_json::to_string(&AgentRequest::Shutdown {
            grace_seconds: 30
        })),
        r#"{"kind":"shutdown","graceSeconds":30}"#
    );
    assert_eq!(
        json(serde_json::to_string(&Boot::Ready {
            host_keys: vec!["ssh-ed25519 A".into()],
            ssh: true,
            ipv6: Vec::new(),
        })),
        r#"{"kind":"ready","hostKeys":["ssh-ed25519 A"],"ssh":true}"#
    );
    let ready = Boot::Ready {
        host_keys: Vec::new(),
        ssh: false,
        ipv6: vec!["fdba::2".parse().unwrap()],
    };
    assert_eq!(
        json(serde_json::to_string(&ready)),
        r#"{"kind":"ready","hostKeys":[],"ssh":false,"ipv6":["fdba::2"]}"#
    );
    let old: AgentResponse =
        serde_json::from_str(r#"{"kind":"pong","agent":"0.1.0","uptimeSeconds":1}"#).unwrap();
    assert_eq!(
        old,
        AgentResponse::Pong {
            agent: "0.1.0".into(),
            uptime_seconds: 1,
            ready: None
        }
    );
    assert!(serde_json::from_str::<AgentRequest>(r#"{"kind":"exec"}"#).is_err());
}

/// Either side may be older than IPv6.
#[test]
fn an_older_side_says_nothing_of_ipv6() {
    let old = r#"{"hostname":"web","uid":"u","address":"172.30.0.2","prefix":16,"gateway":"172.30.0.1","nameservers":[],"search":[],"workDisk":false,"authorizedKeys":[],"env":{},"files":[],"nowNs":0}"#;
    let mut config: GuestConfig = serde_json::from_str(old).unwrap();
    assert_eq!(config.ipv6, None);
    assert_eq!(serde_json::to_string(&config).unwrap(), old);
    config.ipv6 = Some(GuestIpv6 {
        address: "fdba::2".parse().unwrap(),
        prefix: 64,
        gateway: "fdba::1".parse().unwrap(),
    });
    let new = serde_json::to_string(&config).unwrap();
    assert!(new.contains(r#""ipv6":{"address":"fdba::2","prefix":64,"gateway":"fdba::1"}"#));
    assert_eq!(serde_json::from_str::<GuestConfig>(&new).unwrap(), config);
    let ready: Readiness = serde_json::from_str(r#"{"hostKeys":[],"ssh":true}"#).unwrap();
    assert!(ready.ipv6.is_empty());
}

proptest! {
    #[test]
    fn base64_goes_there_and_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let file = GuestFile::new("/etc/x", &bytes, 0o644);
        prop_assert_eq!(file.content(), Some(bytes));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,40}") {
        let _ = frame::read::<Boot>(&bytes[..]);
        let _ = frame::read_or_end::<AgentRequest>(&bytes[..]);
        let _ = base64::decode(&text);
    }
}
