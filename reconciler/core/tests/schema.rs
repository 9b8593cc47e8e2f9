//! The checked-in schemas and the reference are those of the types, and the
//! examples are valid by the schema and by banger.
//! `BANGER_BLESS=1` writes the files anew.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use banger_core::{api, parse, schema, text, validate};
use serde_json::Value;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn compare(file: &str, generated: &str) {
    let path = top().join(file);
    if std::env::var_os("BANGER_BLESS").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == generated,
        "{file} is out of date; run the tests with BANGER_BLESS=1 and commit it"
    );
}

#[test]
fn the_checked_in_files_are_those_of_the_types() {
    for (file, schema) in [
        ("schema/virtualmachine.json", schema::virtual_machine()),
        ("schema/image.json", schema::image()),
        ("schema/banger.json", schema::banger()),
        ("schema/config.json", schema::config()),
    ] {
        jsonschema::meta::validate(&schema).unwrap();
        compare(
            file,
            &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()),
        );
    }
    compare("docs/spec-reference.md", &schema::reference());
}

fn examples() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(top().join("specs/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_example_is_accepted_and_survives_being_written() {
    let ctx = validate::Context {
        home: "/home/me".into(),
    };
    let files = examples();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let source = std::str::from_utf8(&bytes).unwrap();
        assert!(
            source.starts_with("# yaml-language-server: $schema=../../schema/banger.json\n"),
            "{} has no modeline",
            file.display()
        );
        let parsed = parse::parse(&file, &bytes);
        let shown: String = parsed.problems.iter().map(text::render).collect();
        assert_eq!(shown, "");
        for document in parsed.documents {
            let yaml = document.manifest.to_yaml().unwrap();
            let again = parse::parse(&file, yaml.as_bytes());
            assert_eq!(again.problems, vec![]);
            assert_eq!(again.documents[0].manifest, document.manifest);
            validate::validate(&file, document, &ctx).unwrap();
        }
    }
}

#[test]
fn every_example_is_valid_by_the_schema_of_its_kind_alone() {
    let banger = jsonschema::validator_for(&schema::banger()).unwrap();
    let vm = jsonschema::validator_for(&schema::virtual_machine()).unwrap();
    let image = jsonschema::validator_for(&schema::image()).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for file in examples() {
        for document in parse::parse(&file, &fs::read(&file).unwrap()).documents {
            let value: Value = serde_json::to_value(&document.manifest).unwrap();
            let errors: Vec<String> = banger.iter_errors(&value).map(|e| e.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{}", file.display());
            let is_vm = document.manifest.kind() == api::Kind::VirtualMachine;
            assert_eq!(vm.is_valid(&value), is_vm);
            assert_eq!(image.is_valid(&value), !is_vm);
            seen.insert(document.manifest.kind());
        }
    }
    assert_eq!(seen.len(), 2, "an example of each kind");
}
