//! `rename`, and `apply --prune`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use banger::wire::{Request, Response};
use banger_core::api::Kind;

use crate::bench::Bench;
use crate::objects::{not_found, objects, steady, synced, vm};

/// A daemon that holds VM `web` and takes every document over as that.
fn renaming(request: &Request) -> Vec<Response> {
    match request {
        Request::Sync {} => synced(&["shop", "123"]),
        // The old name is still there at first.
        Request::Watch { .. } => vec![objects(&[vm("web")]), objects(&[vm("shop"), vm("123")])],
        request => steady(vec![vm("web")])(request),
    }
}

const TEXT: &str = "# web is the shop's\napiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata:\n  labels: {app: web} # not this one\n  name: NAME # this one\nspec: {image: web}\n---\napiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: db}\nspec: {image: debian-12}\n";

#[test]
fn only_the_bytes_of_the_name_change() {
    for (old, to, new) in [
        ("web", "shop", "shop"),
        ("\"web\"", "shop", "\"shop\""),
        ("'web'", "shop", "'shop'"),
        ("web", "123", "\"123\""),
        ("&n web", "shop", "&n shop"),
    ] {
        let bench = Bench::new();
        let daemon = bench.daemon(renaming);
        let file = bench.vm_file("web.yaml");
        fs::write(&file, TEXT.replace("NAME", old)).unwrap();
        let outcome = bench.banger(&["rename", "vm", "web", to]);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            TEXT.replace("NAME", new)
        );
        assert_eq!(
            daemon.told(),
            [Request::Rename {
                name: "web".parse().unwrap(),
                to: to.parse().unwrap(),
            }]
        );
    }
}

#[test]
fn what_cannot_be_renamed_is_left_alone() {
    let bench = Bench::new();
    let daemon = bench.daemon(renaming);
    let file = bench.vm_file("web.yaml");
    let text = TEXT.replace("NAME", "web");
    fs::write(&file, &text).unwrap();
    let taken = bench.banger(&["rename", "vm", "web", "db"]);
    assert_eq!(taken.code, Some(6), "{taken}");
    let unknown = bench.banger(&["rename", "vm", "nobody", "shop"]);
    assert_eq!(unknown.code, Some(3), "{unknown}");
    // The same name, in letters that can't be replaced one for one.
    let escaped = TEXT.replace("NAME", r#""w\x65b""#);
    fs::write(&file, &escaped).unwrap();
    let odd = bench.banger(&["rename", "vm", "web", "shop"]);
    assert_eq!(odd.code, Some(6), "{odd}");
    assert!(odd.stderr.contains("one plain word"), "{odd}");
    assert_eq!(fs::read_to_string(&file).unwrap(), escaped);
    fs::remove_file(&file).unwrap();
    let nowhere = bench.banger(&["rename", "vm", "web", "shop"]);
    assert_eq!(nowhere.code, Some(6), "{nowhere}");
    assert_eq!(daemon.told(), []);
}

#[test]
fn the_daemons_no_leaves_the_document_as_it_is() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Rename { .. } => vec![not_found("vm/web")],
        request => renaming(request),
    });
    let file = bench.vm_file("web.yaml");
    let text = TEXT.replace("NAME", "web");
    fs::write(&file, &text).unwrap();
    let outcome = bench.banger(&["rename", "vm", "web", "shop"]);
    assert_eq!(outcome.code, Some(3), "{outcome}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

/// home-manager's and stow's ways: the document is a link's.
#[test]
fn a_link_is_followed_and_a_target_that_is_read_only_is_named() {
    let bench = Bench::new();
    let daemon = bench.daemon(renaming);
    let text = TEXT.replace("NAME", "web");
    let target = bench.write("work/store.yaml", &text);
    std::os::unix::fs::symlink(&target, bench.vm_file("web.yaml")).unwrap();
    let mode = |mode| fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o444);
    let refused = bench.banger(&["rename", "vm", "web", "shop"]);
    assert_eq!(refused.code, Some(6), "{refused}");
    assert!(
        refused.stderr.contains("store.yaml is read-only"),
        "{refused}"
    );
    assert_eq!(daemon.told(), [], "nobody is told of what can't be done");
    mode(0o644);
    let outcome = bench.banger(&["rename", "vm", "web", "shop"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(bench.vm_file("web.yaml").is_symlink());
    assert_eq!(
        fs::read_to_string(&target).unwrap(),
        TEXT.replace("NAME", "shop")
    );
}

/// Or a document of the new name, that comes some day, would be this VM's.
#[test]
fn a_rename_that_cannot_be_written_is_taken_back() {
    let bench = Bench::new();
    let file = bench.vm_file("web.yaml");
    let text = TEXT.replace("NAME", "web");
    fs::write(&file, &text).unwrap();
    let theirs = format!("{text}# edited meanwhile\n");
    let (place, edited) = (file.clone(), theirs.clone());
    let daemon = bench.daemon(move |request| {
        if matches!(request, Request::Rename { .. }) {
            fs::write(&place, &edited).unwrap();
        }
        renaming(request)
    });
    let outcome = bench.banger(&["rename", "vm", "web", "shop"]);
    assert_eq!(outcome.code, Some(6), "{outcome}");
    assert!(outcome.stderr.contains("meanwhile"), "{outcome}");
    assert_eq!(fs::read_to_string(&file).unwrap(), theirs);
    let rename = |to: &str| Request::Rename {
        name: "web".parse().unwrap(),
        to: to.parse().unwrap(),
    };
    assert_eq!(daemon.told(), [rename("shop"), rename("web")]);
}

#[test]
fn prune_confirms_what_is_held_of_a_directory_that_may_be_bare() {
    let bench = Bench::new();
    let daemon = bench.daemon(|request| match request {
        Request::Prune { .. } => vec![Response::Pruned {
            objects: vec![(Kind::VirtualMachine, "web".parse().unwrap())],
        }],
        request => steady(Vec::new())(request),
    });
    let directory = bench.vm_file("");
    let directory = directory.to_str().unwrap().trim_end_matches('/');
    let outcome = bench.banger(&["apply", "--prune", "-f", directory]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "vm/web deleted\n"),
        "{outcome}"
    );
    let directories = vec![directory.into()];
    assert_eq!(daemon.told(), [Request::Prune { directories }]);
}
