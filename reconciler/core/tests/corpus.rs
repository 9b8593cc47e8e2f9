//! Bad specs, and what a person is told about each: `corpus/NAME.yaml` and the
//! words in `corpus/NAME.txt`. `BANGER_BLESS=1` writes the words anew; read
//! them before they are committed.
//!
//! Not here, because a document can't be told to be bad by itself: a missing
//! image, an image's file that is gone, a port or a name that two documents
//! claim, a subnet without room (tests of admission); a FIFO, a symlink loop, a
//! directory named `x.yaml`, a file of 100 MB (tests of the source). That each of
//! all these leaves alone what runs is a test of the loop, `controller/tests/bad_files.rs`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use banger_core::parse::{self, parse};
use banger_core::problem::Problem;
use banger_core::validate::{Context, validate};
use banger_core::{schema, text};
use proptest::prelude::*;

fn corpus() -> Vec<(String, PathBuf)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut cases: Vec<(String, PathBuf)> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    cases.sort();
    cases
}

/// Everything that is wrong with a file of the owner's.
fn problems(name: &str, bytes: &[u8]) -> Vec<Problem> {
    let file = PathBuf::from(format!("/home/me/.config/banger/vms/{name}.yaml"));
    let ctx = Context {
        home: "/home/me".into(),
    };
    let parsed = parse(&file, bytes);
    let mut problems = parsed.problems;
    for document in parsed.documents {
        problems.extend(validate(&file, document, &ctx).err().unwrap_or_default());
    }
    for problem in &mut problems {
        problem.file = format!("{name}.yaml").into();
    }
    problems
}

#[test]
fn every_bad_spec_is_told_what_to_write_instead() {
    let cases = corpus();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut wrong = Vec::new();
    for (name, path) in cases {
        let problems = problems(&name, &fs::read(&path).unwrap());
        assert!(!problems.is_empty(), "{name} is accepted");
        for problem in &problems {
            assert!(
                problem
                    .remedy
                    .as_ref()
                    .is_some_and(|remedy| remedy.len() > 10),
                "{name}: {problem:?}"
            );
            assert!(
                problem.at.is_some() || problem.message == "the file holds no document",
                "{name}: {problem:?}"
            );
        }
        let shown: String = problems.iter().map(text::render).collect();
        let expected = path.with_extension("txt");
        if std::env::var_os("BANGER_BLESS").is_some() {
            fs::write(&expected, &shown).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.push(format!("{name}:\n{shown}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "these differ from their .txt:\n{}",
        wrong.join("\n")
    );
}

/// A problem is told with the object wherever kind and name can be read, so
/// that the object's last good intent is kept.
#[test]
fn problems_name_their_object() {
    for (name, path) in corpus() {
        if ["document-", "name-", "syntax-merge-marker"]
            .iter()
            .any(|p| name.starts_with(p))
        {
            continue;
        }
        for problem in problems(&name, &fs::read(&path).unwrap()) {
            let wanted = if name.starts_with("image-") {
                "debian-12"
            } else {
                "web"
            };
            let (_, object) = problem
                .object
                .unwrap_or_else(|| panic!("{name} names no object"));
            assert_eq!(object.as_str(), wanted, "{name}");
        }
    }
}

/// What the schema can't say: arithmetic, what is unique, what isn't there yet.
const BEYOND_THE_SCHEMA: [&str; 28] = [
    "annotation-unknown",
    "disk-too-large",
    "egress-host-bits",
    "egress-ipv6",
    "disk-too-small",
    "file-sync-below",
    "file-sync-climbs",
    "file-sync-taken",
    "file-sync-twice",
    "image-archive",
    "image-build",
    "image-modules-sha256",
    "image-oci",
    "image-url",
    "image-work-seed",
    "keys-cut-short",
    "memory-absurd",
    "memory-not-whole-mib",
    "memory-overflow",
    "memory-without-unit",
    "port-address-multicast",
    "port-twice",
    "port-udp-twice",
    "syntax-list-key",
    "syntax-merge-marker",
    "syntax-tag",
    "syntax-duplicate-key",
    "syntax-duplicate-section",
];

#[test]
fn the_schema_refuses_what_it_can() {
    let validator = jsonschema::validator_for(&schema::banger()).unwrap();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for (name, path) in corpus() {
        let text = fs::read_to_string(&path).unwrap();
        let Ok(value) = serde_yaml::from_str::<serde_json::Value>(&text) else {
            continue;
        };
        let beyond = BEYOND_THE_SCHEMA.contains(&name.as_str());
        if validator.is_valid(&value) != beyond {
            wrong.push(name);
        }
        checked += 1;
    }
    assert!(checked > 60, "{checked}");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn bytes_that_no_editor_writes() {
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (from, to) in [
        ("a", "b"),
        ("b", "c"),
        ("c", "d"),
        ("d", "e"),
        ("e", "f"),
        ("f", "g"),
    ] {
        bomb.push_str(&format!(
            "{to}: &{to} [{}]\n",
            vec![format!("*{from}"); 9].join(",")
        ));
    }
    let many = "---\na: 1\n".repeat(parse::limits::MAX_DOCUMENTS + 1);
    let long = vec![b'#'; parse::limits::MAX_FILE_BYTES + 1];
    let wide = format!("a: [{}]", "1,".repeat(100_000));
    let anchors: String = (0..5000).map(|i| format!("k{i}: &a{i} 1\n")).collect();
    for (name, bytes, at, words) in [
        (
            "bomb",
            bomb.as_bytes(),
            Some((4, 11)),
            "aliases of the document stand for too many values",
        ),
        (
            "brackets",
            "[".repeat(20_000).as_bytes(),
            Some((1, 33)),
            "nested too deeply",
        ),
        (
            "braces",
            "{a: ".repeat(20_000).as_bytes(),
            Some((1, 129)),
            "nested too deeply",
        ),
        (
            "dashes",
            "- ".repeat(20_000).as_bytes(),
            Some((1, 65)),
            "nested too deeply",
        ),
        ("wide", wide.as_bytes(), Some((1, 39999)), "too many values"),
        (
            "anchors",
            anchors.as_bytes(),
            Some((101, 13)),
            "too many anchors",
        ),
        // These are no matter of a place.
        ("documents", many.as_bytes(), None, "1001 documents"),
        ("long", long.as_slice(), None, "more than 1048576"),
        (
            "latin-1",
            b"# caf\xe9\napiVersion: x\n".as_slice(),
            Some((1, 6)),
            "not UTF-8 text: byte 6 is 0xe9",
        ),
        (
            "utf-16",
            b"\xff\xfea\0:\0".as_slice(),
            Some((1, 1)),
            "not UTF-8 text: byte 1",
        ),
        ("nul", b"a: \0\n".as_slice(), Some((1, 4)), "not valid YAML"),
    ] {
        let start = Instant::now();
        let problems = problems(name, bytes);
        let [problem] = problems.as_slice() else {
            panic!("{name}: {problems:?}");
        };
        assert!(problem.message.contains(words), "{name}: {problem:?}");
        assert_eq!(problem.at, at, "{name}: {problem:?}");
        let remedy = problem.remedy.as_deref().unwrap_or_default();
        assert!(remedy.len() > 10, "{name}: {problem:?}");
        // What can't be seen is not told to be quoted.
        let unseen = remedy.starts_with("remove this character");
        assert_eq!(unseen, name == "nul", "{name}: {problem:?}");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{name} took too long"
        );
    }
}

fn examples() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specs/examples");
    let read = |entry: std::io::Result<fs::DirEntry>| fs::read_to_string(entry.unwrap().path());
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| read(entry).unwrap())
        .collect()
}

/// A position in the file that the text has, and a message for every refusal.
fn sane(bytes: &[u8]) -> Result<(), TestCaseError> {
    let parsed = parse(Path::new("x.yaml"), bytes);
    prop_assert!(!parsed.documents.is_empty() || !parsed.problems.is_empty());
    for document in &parsed.documents {
        prop_assert!(bytes.get(document.span.clone()).is_some());
    }
    let lines = bytes
        .iter()
        .filter(|byte| matches!(byte, b'\n' | b'\r'))
        .count()
        + 2;
    for problem in parsed.problems {
        prop_assert!(!problem.message.is_empty());
        if let Some((line, column)) = problem.at {
            prop_assert!(line >= 1 && column >= 1);
            prop_assert!(usize::try_from(line).unwrap() <= lines, "{problem:?}");
        }
        text::render(&problem);
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        sane(&bytes)?;
    }

    #[test]
    fn yaml_like_text_never_panics(words in prop::collection::vec(prop::sample::select(vec![
        "a", ": ", ":", "- ", "\n", "  ", "[", "]", "{", "}", "\"", "'", "|", ">", "&a ", "*a", "!!str ", "!x ",
        "---", "...", "#", "? ", "<<: ", "~", "1", "\t", "%YAML 1.2", "\r\n", "apiVersion: banger.dev/v1alpha1", "kind: VirtualMachine",
        "metadata: {name: a}", "spec: ", "\u{feff}", "é", "\0",
    ]), 0..60)) {
        sane(words.concat().as_bytes())?;
    }

    #[test]
    fn mutilated_specs_never_panic(
        which in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..6, ".{0,4}"), 1..5),
    ) {
        let examples = examples();
        let mut text: Vec<char> = examples[which.index(examples.len())].chars().collect();
        for (at, length, insert) in cuts {
            let from = at.index(text.len().max(1)).min(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, insert.chars());
        }
        let text: String = text.into_iter().collect();
        sane(text.as_bytes())?;
        problems("x", text.as_bytes());
    }
}
