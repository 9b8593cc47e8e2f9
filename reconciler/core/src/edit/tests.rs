#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::api::{Kind, Name};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn vm(name: &str, vcpus: u8) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: {name}\nspec:\n  image: debian-12 # pinned\n  vcpus: {vcpus}\n"
    )
}

#[test]
fn comments_and_neighbours_stay() {
    let text = format!(
        "# head\n\n{}\n# about db\n---\n# db itself\n{}# tail\n",
        vm("web", 1),
        vm("db", 1)
    );
    let new = replace(&text, Kind::VirtualMachine, &name("db"), &vm("db", 4)).unwrap();
    assert_eq!(
        new,
        text.replacen(
            "db\nspec:\n  image: debian-12 # pinned\n  vcpus: 1",
            "db\nspec:\n  image: debian-12 # pinned\n  vcpus: 4",
            1
        )
    );
    // The same again changes nothing, and neither do comments that stand there already.
    let again = format!("# db itself\n{}", vm("db", 4));
    assert_eq!(
        replace(&new, Kind::VirtualMachine, &name("db"), &again).unwrap(),
        new
    );
    let added = format!("# more\n{}", vm("db", 4));
    let new = replace(&new, Kind::VirtualMachine, &name("db"), &added).unwrap();
    assert!(new.contains("# db itself\n# more\napiVersion"), "{new}");
}

#[test]
fn removal_keeps_the_head_and_the_neighbours() {
    let text = format!(
        "# head\n---\n# web\n{}---\n# db\n{}",
        vm("web", 1),
        vm("db", 1)
    );
    let Removal::Text(rest) = remove(&text, Kind::VirtualMachine, &name("web")).unwrap() else {
        panic!("db is left");
    };
    assert_eq!(
        rest,
        format!("# head\n---\n# db\n{}", vm("db", 1)).replacen("---\n", "---\n", 1)
    );
    assert_eq!(
        remove(&rest, Kind::VirtualMachine, &name("db")).unwrap(),
        Removal::Empty
    );
    let Removal::Text(rest) = remove(&text, Kind::VirtualMachine, &name("db")).unwrap() else {
        panic!("web is left");
    };
    assert_eq!(rest, format!("# head\n---\n# web\n{}", vm("web", 1)));
}

#[test]
fn a_broken_document_can_be_replaced() {
    let broken = vm("web", 1).replace("image: debian-12", "image: [");
    let text = format!("{broken}---\n{}", vm("db", 1));
    let new = replace(&text, Kind::VirtualMachine, &name("web"), &vm("web", 2)).unwrap();
    assert_eq!(new, format!("{}---\n{}", vm("web", 2), vm("db", 1)));
}

#[test]
fn line_ends_mark_and_inline_documents() {
    let text = format!("\u{feff}{}", vm("web", 1)).replace('\n', "\r\n");
    let new = replace(&text, Kind::VirtualMachine, &name("web"), &vm("web", 2)).unwrap();
    assert_eq!(new, text.replace("vcpus: 1", "vcpus: 2"));
    let inline = "--- {apiVersion: banger.dev/v1alpha1, kind: VirtualMachine, metadata: {name: web}, spec: {image: a}}";
    let new = replace(inline, Kind::VirtualMachine, &name("web"), &vm("web", 2)).unwrap();
    assert_eq!(new, format!("---\n{}", vm("web", 2)));
    let back = replace(&new, Kind::VirtualMachine, &name("web"), inline).unwrap();
    assert_eq!(back, format!("{}\n", inline.replacen("--- ", "---\n", 1)));
}

#[test]
fn appended_documents_are_separated() {
    assert_eq!(append("", &vm("web", 1)).unwrap(), vm("web", 1));
    assert_eq!(
        append("# head\n", &vm("web", 1)).unwrap(),
        format!("# head\n{}", vm("web", 1))
    );
    let two = append(vm("web", 1).trim_end(), &format!("---\n{}", vm("db", 1))).unwrap();
    assert_eq!(two, format!("{}---\n{}", vm("web", 1), vm("db", 1)));
}

#[test]
fn what_can_not_be_done_is_an_error() {
    let text = format!("{}---\n{}", vm("web", 1), vm("web", 2));
    let web = name("web");
    let ambiguous = EditError::Ambiguous {
        kind: Kind::VirtualMachine,
        name: web.clone(),
        lines: vec![1, 9],
    };
    assert_eq!(remove(&text, Kind::VirtualMachine, &web), Err(ambiguous));
    assert!(matches!(
        remove(&text, Kind::Image, &web),
        Err(EditError::NotFound { .. })
    ));
    let one = vm("web", 1);
    assert_eq!(
        replace(&one, Kind::VirtualMachine, &web, &text),
        Err(EditError::NotOne { documents: 2 })
    );
    assert!(matches!(
        replace(&one, Kind::VirtualMachine, &web, &vm("db", 1)),
        Err(EditError::Other { .. })
    ));
}

/// Lines that may stand around documents.
fn noise() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["# a comment\n", "\n", "  # indented\n", "#\n"]),
        0..3,
    )
    .prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn no_other_byte_changes(
        noises in prop::collection::vec((noise(), noise()), 1..6),
        at in any::<prop::sample::Index>(),
        windows in any::<bool>(),
        vcpus in 1_u8..33,
    ) {
        let at = at.index(noises.len());
        let parts: Vec<String> = noises
            .iter()
            .enumerate()
            .map(|(i, (before, after))| {
                let part = format!("{before}{}{after}", vm(&format!("vm-{i}"), 1));
                if windows { part.replace('\n', "\r\n") } else { part }
            })
            .collect();
        let separator = if windows { "---\r\n" } else { "---\n" };
        let text = parts.join(separator);
        let wanted = name(&format!("vm-{at}"));
        let changed = replace(&text, Kind::VirtualMachine, &wanted, &vm(wanted.as_str(), vcpus)).unwrap();
        let mut expected = parts.clone();
        expected[at] = expected[at].replace("vcpus: 1", &format!("vcpus: {vcpus}"));
        // An indented comment right after a document is taken to be part of it.
        let strip = |part: &str| part.replace("  # indented\r\n", "").replace("  # indented\n", "");
        let got: Vec<&str> = changed.split(separator).collect();
        prop_assert_eq!(got.len(), parts.len());
        for (i, part) in got.iter().enumerate() {
            if i == at {
                prop_assert_eq!(strip(part).replace(['\r', '\n'], ""), strip(&expected[i]).replace(['\r', '\n'], ""));
            } else {
                prop_assert_eq!(*part, parts[i].as_str());
            }
        }
        match remove(&text, Kind::VirtualMachine, &wanted).unwrap() {
            Removal::Empty => prop_assert_eq!(parts.len(), 1),
            Removal::Text(rest) => {
                for (i, part) in parts.iter().enumerate().filter(|(i, _)| *i != at) {
                    let found = find(&rest, Kind::VirtualMachine, &name(&format!("vm-{i}"))).unwrap();
                    prop_assert!(part.contains(found));
                }
                prop_assert!(find(&rest, Kind::VirtualMachine, &wanted).is_err());
            }
        }
    }
}
