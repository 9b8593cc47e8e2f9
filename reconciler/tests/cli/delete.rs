//! `delete`: the document, then the object.

use banger::wire::{Request, Response};
use banger_core::api::Kind;

use crate::bench::Bench;
use crate::objects::{not_found, objects, refusal, steady, vm};

fn document(name: &str) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec: {{image: debian-12}}\n"
    )
}

#[test]
fn the_document_goes_with_the_object() {
    let bench = Bench::new();
    let daemon = bench.daemon(|request| match request {
        Request::Watch { .. } => vec![objects(&[vm("web")]), objects(&[])],
        request => steady(vec![vm("web")])(request),
    });
    std::fs::write(bench.vm_file("web.yaml"), document("web")).unwrap();
    let outcome = bench.banger(&["delete", "vm", "web"]);
    insta::assert_snapshot!(outcome);
    assert!(!bench.vm_file("web.yaml").exists());
    assert_eq!(
        daemon.told(),
        [Request::Delete {
            kind: Kind::VirtualMachine,
            name: "web".parse().unwrap(),
            purge: false,
        }]
    );
}

#[test]
fn a_refused_deletion_puts_the_document_back() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Delete { .. } => vec![refusal("web.yaml can't be made out now")],
        request => steady(vec![vm("web")])(request),
    });
    let path = bench.vm_file("web.yaml");
    std::fs::write(&path, document("web")).unwrap();
    let outcome = bench.banger(&["delete", "vm", "web"]);
    assert_ne!(outcome.code, Some(0), "{outcome}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), document("web"));
}

#[test]
fn what_must_not_be_deleted_keeps_its_document() {
    let bench = Bench::new();
    let daemon = bench.daemon(|request| {
        let mut protected = vm("web");
        let annotations = &mut protected.metadata.annotations;
        annotations.insert("banger.dev/prevent-deletion".into(), "true".into());
        steady(vec![protected])(request)
    });
    let path = bench.vm_file("web.yaml");
    std::fs::write(&path, document("web")).unwrap();
    let outcome = bench.banger(&["delete", "vm", "web"]);
    assert!(outcome.stderr.contains("prevent-deletion"), "{outcome}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), document("web"));
    assert!(daemon.told().is_empty());
}

#[test]
fn neighbours_stay_byte_for_byte() {
    let bench = Bench::new();
    bench.daemon(steady(vec![vm("web")]));
    let text = format!(
        "# all of the shop\n{}---\n# the database\n{}",
        document("web"),
        document("db")
    );
    std::fs::write(bench.vm_file("shop.yaml"), text).unwrap();
    let outcome = bench.banger(&["vm", "delete", "web", "--wait=false"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "vm/web deleted\n"),
        "{outcome}"
    );
    let left = std::fs::read_to_string(bench.vm_file("shop.yaml")).unwrap();
    assert!(left.starts_with("# all of the shop\n"), "{left}");
    assert!(
        left.ends_with(&format!("# the database\n{}", document("db"))),
        "{left}"
    );
    assert!(!left.contains("web"), "{left}");
}

#[test]
fn a_link_goes_and_its_target_stays() {
    let bench = Bench::new();
    bench.daemon(steady(vec![vm("web")]));
    let target = bench.write("work/dotfiles.yaml", &document("web"));
    std::os::unix::fs::symlink(&target, bench.vm_file("web.yaml")).unwrap();
    // A dotfile manager's file that is read-only is refused by name.
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o444)).unwrap();
    let refused = bench.banger(&["delete", "vm/web", "--wait=false"]);
    assert_eq!(refused.code, Some(6), "{refused}");
    assert!(
        refused
            .stderr
            .contains("[DIR]/work/dotfiles.yaml is read-only"),
        "{refused}"
    );
    assert!(bench.vm_file("web.yaml").exists());
}

#[test]
fn what_a_file_declares() {
    let bench = Bench::new();
    let daemon = bench.daemon(steady(vec![vm("db"), vm("web")]));
    let given = bench.write(
        "work/given.yaml",
        &format!("{}---\n{}", document("web"), document("db")),
    );
    let outcome = bench.banger(&["delete", "-f", "given.yaml", "--wait=false"]);
    assert_eq!(
        outcome.stdout, "vm/web deleted\nvm/db deleted\n",
        "{outcome}"
    );
    assert_eq!(daemon.told().len(), 2);
    assert!(given.exists());
}

#[test]
fn a_document_of_which_nothing_came() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Delete { name, .. } => vec![not_found(&format!("vm/{name}"))],
        request => steady(Vec::new())(request),
    });
    std::fs::write(bench.vm_file("web.yaml"), document("web")).unwrap();
    let outcome = bench.banger(&["delete", "vm", "web"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!bench.vm_file("web.yaml").exists());
    let again = bench.banger(&["delete", "vm", "web"]);
    assert_eq!(again.code, Some(3), "{again}");
    assert!(
        again.stderr.starts_with("error: there is no vm/web\n"),
        "{again}"
    );
}

#[test]
fn losing_data_wants_a_yes() {
    let bench = Bench::new();
    let daemon = bench.daemon(steady(vec![vm("web")]));
    let outcome = bench.banger(&["delete", "vm", "web", "--purge"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("--yes"), "{outcome}");
    assert_eq!(daemon.asked(), []);
    let sure = bench.banger(&["delete", "vm", "web", "--purge", "--yes", "--wait=false"]);
    assert_eq!(sure.code, Some(0), "{sure}");
    assert!(matches!(
        daemon.told()[..],
        [Request::Delete { purge: true, .. }]
    ));
}

#[test]
fn the_daemons_no_is_passed_on() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Delete { .. } => vec![Response::Error {
            code: banger::wire::response::Code::Conflict,
            message: "vm/web is protected".into(),
            remedy: Some("remove the annotation first".into()),
        }],
        request => steady(vec![vm("web")])(request),
    });
    let outcome = bench.banger(&["delete", "vm", "web"]);
    assert_eq!(outcome.code, Some(6), "{outcome}");
    assert!(outcome.stderr.contains("vm/web is protected"));
}
