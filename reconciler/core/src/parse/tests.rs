#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::api::{Body, Kind, Quantity};

fn read(text: &str) -> Parsed {
    parse(Path::new("web.yaml"), text.as_bytes())
}

const WEB: &str = "apiVersion: banger.dev/v1alpha1
kind: VirtualMachine
metadata: {name: web}
spec:
  image: debian-12
  memory: 536870912
  network:
    ports:
      - {host: 8080, guest: 80}
";

fn web(from: &str, to: &str) -> String {
    assert!(WEB.contains(from));
    WEB.replace(from, to)
}

#[test]
fn a_document_and_the_places_of_its_fields() {
    let parsed = read(&format!("# hello\n---\n{WEB}"));
    assert_eq!(parsed.problems, vec![]);
    let document = &parsed.documents[0];
    assert_eq!(document.manifest.name().as_str(), "web");
    let Body::VirtualMachine(spec) = &document.manifest.body else {
        panic!("a VM");
    };
    assert_eq!(spec.memory, Some(Quantity::from_mib(512)));
    assert_eq!(document.line, 3);
    assert_eq!(document.places.of("spec.memory"), Some((8, 11)));
    assert_eq!(
        document.places.of("spec.network.ports[0].guest"),
        Some((11, 29))
    );
    assert_eq!(document.places.of("spec.vcpus"), Some((6, 1)));
    assert_eq!(
        document.places.line(8).as_deref(),
        Some("  memory: 536870912")
    );
    assert_eq!(document.span, 12..12 + WEB.len());
}

#[test]
fn a_bad_document_leaves_its_neighbours_alone() {
    let bad = web("image: debian-12", "image: [").replace("name: web", "name: broken");
    let parsed = read(&format!(
        "{WEB}---\n{bad}---\n{}",
        web("name: web", "name: db")
    ));
    let names: Vec<_> = parsed
        .documents
        .iter()
        .map(|d| d.manifest.name().as_str())
        .collect();
    assert_eq!(names, ["web", "db"]);
    assert_eq!(parsed.problems.len(), 1, "{:?}", parsed.problems);
    let problem = &parsed.problems[0];
    assert_eq!(
        problem.object,
        Some((Kind::VirtualMachine, "broken".parse().unwrap()))
    );
    assert!(problem.at.unwrap().0 >= 15, "{problem:?}");
}

#[test]
fn windows_newlines_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{WEB}").replace('\n', "\r\n");
    let parsed = read(&text);
    assert_eq!(parsed.problems, vec![]);
    let document = &parsed.documents[0];
    assert_eq!(document.places.of("spec.memory"), Some((6, 11)));
    assert_eq!(document.span, 3..text.len());
}

#[test]
fn an_unknown_field_is_named_with_what_was_meant() {
    let parsed = read(&web("memory:", "memroy:"));
    let problem = &parsed.problems[0];
    assert_eq!(problem.at, Some((6, 3)));
    assert_eq!(problem.field.as_deref(), Some("spec.memroy"));
    assert_eq!(problem.message, "`spec` has no field `memroy`");
    assert!(
        problem
            .remedy
            .as_ref()
            .unwrap()
            .starts_with("did you mean `memory`?")
    );
    assert_eq!(problem.line.as_deref(), Some("  memroy: 536870912"));
    assert_eq!(
        problem.object,
        Some((Kind::VirtualMachine, "web".parse().unwrap()))
    );
}

#[test]
fn text_that_looks_like_a_number_is_to_be_quoted() {
    let parsed = read(&web("{name: web}", "{name: web, labels: {version: 1.10}}"));
    let problem = &parsed.problems[0];
    assert_eq!(
        problem.remedy.as_deref(),
        Some("put it in quotes: `\"1.10\"`")
    );
    assert_eq!(
        problem.message,
        "`metadata.labels.version` is `1.10`; text is wanted"
    );
}

#[test]
fn every_part_of_a_document_is_checked() {
    let text = web("memory: 536870912", "memory: lots")
        .replace("v1alpha1", "v1")
        .replace("{name: web}", "{name: Web}");
    let parsed = read(&text);
    let lines: Vec<_> = parsed.problems.iter().map(|p| p.at.unwrap().0).collect();
    assert_eq!(lines, [1, 3, 6], "{:?}", parsed.problems);
}

#[test]
fn empty_files_hold_no_document() {
    for text in [
        "",
        "\n\n",
        "# only this\n",
        "---\n---\n",
        "%YAML 1.2\n---\n...\n",
    ] {
        let parsed = read(text);
        assert_eq!(parsed.problems.len(), 1, "{text:?}");
        assert_eq!(parsed.problems[0].message, "the file holds no document");
    }
}

#[test]
fn bytes_that_are_no_text_are_located() {
    let parsed = parse(Path::new("x.yaml"), b"a: b\nc: \xff\n");
    assert_eq!(parsed.problems[0].at, Some((2, 4)));
    assert!(
        parsed.problems[0].message.contains("byte 9 is 0xff"),
        "{parsed:?}"
    );
}

#[test]
fn bombs_and_nests_end_quickly() {
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (from, to) in
        ["ab", "bc", "cd", "de", "ef", "fg", "gh"].map(|pair| (&pair[..1], &pair[1..]))
    {
        bomb.push_str(&format!(
            "{to}: &{to} [{}]\n",
            vec![format!("*{from}"); 9].join(",")
        ));
    }
    let too_deep = "nested too deeply";
    for (text, message) in [
        (bomb, "aliases of the document stand for too many values"),
        ("[".repeat(20_000), too_deep),
        ("{a: ".repeat(20_000), too_deep),
        ("- ".repeat(20_000), too_deep),
    ] {
        let parsed = read(&text);
        assert_eq!(parsed.documents, vec![]);
        assert_eq!(parsed.problems.len(), 1);
        assert!(parsed.problems[0].message.contains(message), "{parsed:?}");
    }
}
