//! What the fuzzer of `helper/fuzz` begins with: a frame of every operation, and
//! one connection that asks for all of them. `BANGER_BLESS=1` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use banger_protocol::Request;
use banger_protocol::frame::{HEADER, MAX_REQUEST, body_length, decode, encode};

use crate::operations;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frame")
}

/// By file name.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let frame = |request: &Request| encode(request, MAX_REQUEST).unwrap();
    let mut seeds: Vec<_> = operations::all()
        .map(|request| (request.op().to_owned(), frame(&request)))
        .collect();
    let connection = operations::all().flat_map(|it| frame(&it)).collect();
    seeds.push(("connection".into(), connection));
    seeds
}

#[test]
fn the_fuzzer_begins_with_every_operation() {
    let seeds = seeds();
    for (name, bytes) in &seeds {
        let path = folder().join(name);
        if std::env::var_os("BANGER_BLESS").is_some() {
            fs::write(&path, bytes).unwrap();
        }
        assert!(
            fs::read(&path).is_ok_and(|there| there == *bytes),
            "{} is out of date; run the tests with BANGER_BLESS=1 and commit it",
            path.display()
        );
    }
    // What a run of `cargo fuzz` leaves is named by its SHA-1, and not checked in.
    let found = fs::read_dir(folder())
        .unwrap()
        .map(|it| it.unwrap().file_name());
    let kept: BTreeSet<String> = found
        .map(|name| name.into_string().unwrap())
        .filter(|name| name.len() != 40)
        .collect();
    assert_eq!(kept, seeds.into_iter().map(|(name, _)| name).collect());
}

/// Read from disk as the helper would: to the last byte, each frame a request.
#[test]
fn what_the_fuzzer_begins_with_is_understood() {
    for request in operations::all() {
        let bytes = fs::read(folder().join(request.op())).unwrap();
        assert_eq!(requests(&bytes), [request]);
    }
    let connection = fs::read(folder().join("connection")).unwrap();
    assert_eq!(requests(&connection), operations::all().collect::<Vec<_>>());
}

fn requests(mut bytes: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
        let (body, rest) = rest.split_at(body_length(*header, MAX_REQUEST).unwrap());
        requests.push(decode(body).unwrap());
        bytes = rest;
    }
    assert_eq!(bytes, [0_u8; 0]);
    requests
}
