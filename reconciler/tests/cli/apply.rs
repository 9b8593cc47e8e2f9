//! `apply`: shown, written, admitted, waited for.

use std::fs;

use banger::wire::request::Power;
use banger::wire::{Request, Response};
use banger_core::api::Kind;
use serde_json::json;

use crate::bench::Bench;
use crate::objects::{
    UID, diff, diff_entry, image_json, object, objects, response, steady, synced, vm, vm_in,
    vm_json,
};

const VM: &str = "# the shop\napiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\nspec: {image: debian-12, vcpus: 2} # two\n";

/// A daemon to which VM `web` is new, and which then brings it up.
fn creating(request: &Request) -> Vec<Response> {
    match request {
        Request::Diff { .. } => diff(diff_entry("web", "create", "live", None)),
        Request::List { .. } => vec![objects(&[])],
        Request::Sync {} => synced(&["web"]),
        Request::Watch { .. } => vec![
            objects(&[]),
            objects(&[vm_in("web", "Creating")]),
            objects(&[vm("web")]),
        ],
        _ => vec![Response::Done {}],
    }
}

#[test]
fn a_new_vm() {
    let bench = Bench::new();
    bench.daemon(creating);
    bench.write("work/given.yaml", VM);
    insta::assert_snapshot!(bench.banger(&["apply", "-f", "given.yaml"]));
    assert_eq!(fs::read_to_string(bench.vm_file("web.yaml")).unwrap(), VM);
    let left: Vec<_> = fs::read_dir(bench.vm_file(".")).unwrap().collect();
    assert_eq!(left.len(), 1, "a temporary file is left: {left:?}");
}

#[test]
fn stdin() {
    let bench = Bench::new();
    bench.daemon(creating);
    let outcome = bench.banger_with(&["apply", "-f", "-", "--wait=false"], VM);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "vm/web created\n"),
        "{outcome}"
    );
    assert_eq!(fs::read_to_string(bench.vm_file("web.yaml")).unwrap(), VM);
}

#[test]
fn exactly_one_document_is_replaced() {
    let bench = Bench::new();
    bench.daemon(creating);
    let neighbour = VM.replace("web", "db").replace("the shop", "its database");
    let old = VM.replace("vcpus: 2", "vcpus: 1").replace("# two", "# one");
    fs::write(
        bench.vm_file("all.yaml"),
        format!("# head\n{neighbour}---\n{old}# tail\n"),
    )
    .unwrap();
    bench.write("work/given.yaml", VM);
    let outcome = bench.banger(&["apply", "-f", "given.yaml", "--wait=false"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let text = fs::read_to_string(bench.vm_file("all.yaml")).unwrap();
    assert!(
        text.starts_with(&format!("# head\n{neighbour}---\n# the shop\n")),
        "{text}"
    );
    assert!(
        text.ends_with("spec: {image: debian-12, vcpus: 2} # two\n# tail\n"),
        "{text}"
    );
    assert!(!bench.vm_file("web.yaml").exists());
}

#[test]
fn a_dry_run_writes_nothing() {
    let bench = Bench::new();
    let daemon = bench.daemon(creating);
    bench.write("work/given.yaml", VM);
    let outcome = bench.banger(&["apply", "-f", "given.yaml", "--dry-run"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "vm/web created (dry run)\n")
    );
    assert!(!bench.vm_file("web.yaml").exists());
    assert!(matches!(daemon.asked()[..], [Request::Diff { .. }]));
}

#[test]
fn what_would_not_be_accepted_is_not_written() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Diff { .. } => vec![response(json!({
            "response": "diff",
            "report": {"entries": [], "problems": [{
                "file": "/c/web.yaml", "at": null, "object": ["VirtualMachine", "web"], "field": "spec.network.ports",
                "message": "port 8080 is vm/db's", "remedy": "choose another", "line": null,
            }]},
        }))],
        request => creating(request),
    });
    bench.write("work/given.yaml", VM);
    insta::assert_snapshot!(bench.banger(&["apply", "-f", "given.yaml"]));
    assert!(!bench.vm_file("web.yaml").exists());
}

#[test]
fn a_file_of_the_directory_is_left_as_it_is() {
    let bench = Bench::new();
    let daemon = bench.daemon(creating);
    let path = bench.vm_file("mine.yml");
    fs::write(&path, VM).unwrap();
    let outcome = bench.banger(&["apply", "-f", path.to_str().unwrap(), "--wait=false"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let Request::Diff { overlay } = &daemon.asked()[0] else {
        panic!("{:?}", daemon.asked());
    };
    assert_eq!(overlay.len(), 0);
    assert!(!bench.vm_file("web.yaml").exists());
}

#[test]
fn a_link_is_written_through() {
    let bench = Bench::new();
    bench.daemon(creating);
    let target = bench.write("work/dotfiles.yaml", &VM.replace("vcpus: 2", "vcpus: 1"));
    std::os::unix::fs::symlink(&target, bench.vm_file("web.yaml")).unwrap();
    bench.write("work/given.yaml", VM);
    let apply = ["apply", "-f", "given.yaml", "--wait=false"];
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&target, fs::Permissions::from_mode(0o444)).unwrap();
    let refused = bench.banger(&apply);
    assert_eq!(refused.code, Some(6), "{refused}");
    assert!(
        refused
            .stderr
            .contains("error: [DIR]/work/dotfiles.yaml is read-only"),
        "{refused}"
    );
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(bench.banger(&apply).code, Some(0));
    assert_eq!(bench.read("work/dotfiles.yaml"), VM);
    assert!(
        fs::symlink_metadata(bench.vm_file("web.yaml"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(
        fs::metadata(&target).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn paths_of_an_image_are_made_absolute() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Sync {} => vec![response(json!({
            "response": "synced", "problems": [],
            "admitted": [{"kind": "Image", "name": "debian", "uid": UID, "generation": 1}],
        }))],
        Request::Watch {
            kind: Kind::Image, ..
        } => vec![objects(&[object(image_json("debian"))])],
        request => steady(Vec::new())(request),
    });
    bench.write(
        "work/image.yaml",
        "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian}\nspec:\n  rootfs: {disk: {path: ./debian.ext4}} # mine\n  kernel:\n    path: \"boot/vmlinuz\"\n  modules: {path: /lib/modules/6.1}\n  initrd: {path: ~/initrd}\n",
    );
    let outcome = bench.banger(&["apply", "-f", "image.yaml"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let text = bench.read("home/.config/banger/images/debian.yaml");
    let work = bench.path("work");
    let work = work.display();
    assert!(
        text.contains(&format!("{{disk: {{path: {work}/debian.ext4}}}} # mine\n")),
        "{text}"
    );
    assert!(
        text.contains(&format!("path: \"{work}/boot/vmlinuz\"\n")),
        "{text}"
    );
    assert!(
        text.contains("{path: /lib/modules/6.1}\n") && text.contains("{path: ~/initrd}\n"),
        "{text}"
    );
}

/// A daemon with a running `web` whose new vcpus wait for a restart.
fn restarting(request: &Request) -> Vec<Response> {
    match request {
        Request::Diff { .. } => diff(diff_entry("web", "modify", "restart", Some("--restart"))),
        Request::Sync {} => synced(&["web"]),
        Request::Watch { .. } => {
            let mut again = vm_json("web");
            again["status"]["handles"]["pid"] = 4712.into();
            vec![objects(&[vm("web")]), objects(&[object(again)])]
        }
        request => steady(vec![vm("web")])(request),
    }
}

#[test]
fn a_restart_is_only_done_when_it_is_asked_for() {
    let bench = Bench::new();
    let daemon = bench.daemon(restarting);
    bench.write("work/given.yaml", VM);
    let held = bench.banger(&["apply", "-f", "given.yaml"]);
    insta::assert_snapshot!(held);
    assert_eq!(daemon.told(), []);
    let done = bench.banger(&["apply", "-f", "given.yaml", "--restart"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert!(matches!(
        daemon.told()[..],
        [Request::Power {
            power: Power::Restart,
            ..
        }]
    ));
    assert!(done.stderr.ends_with("vm/web: Ready ([TIME])\n"), "{done}");
    // The preview sends nobody to type what was just typed.
    assert!(!done.stderr.contains("waits for"), "{done}");
}

#[test]
fn a_replaced_disk_is_only_confirmed_when_it_is_asked_for() {
    let bench = Bench::new();
    let daemon = bench.daemon(|request| match request {
        Request::Diff { .. } => diff(diff_entry(
            "web",
            "modify",
            "replace-root",
            Some("--allow-data-loss --replace-root"),
        )),
        request => restarting(request),
    });
    bench.write("work/given.yaml", VM);
    let outcome = bench.banger(&[
        "apply",
        "-f",
        "given.yaml",
        "--replace-root",
        "--wait=false",
    ]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(
        daemon.told(),
        [Request::Confirm {
            name: "web".parse().unwrap(),
            replace_root: true,
            allow_data_loss: false,
        }]
    );
    assert!(
        outcome
            .stderr
            .contains("a part of it waits for `banger apply -f given.yaml --allow-data-loss`"),
        "{outcome}"
    );
}

#[test]
fn what_fails_after_the_write_is_told() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Sync {} => synced(&["db"]),
        request => creating(request),
    });
    bench.write("work/given.yaml", VM);
    let outcome = bench.banger(&["apply", "-f", "given.yaml"]);
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("vm/web was written, but is not accepted"),
        "{outcome}"
    );
}

#[test]
fn not_in_time() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Watch { .. } => {
            let mut failed = vm_json("web");
            failed["status"]["phase"] = "Pending".into();
            failed["status"]["conditions"][1] = crate::objects::condition(
                "Ready",
                "False",
                "ImageNotReady",
                "image `debian-12` isn't there",
            );
            vec![objects(&[object(failed)])]
        }
        request => creating(request),
    });
    bench.write("work/given.yaml", VM);
    insta::assert_snapshot!(bench.banger(&["apply", "-f", "given.yaml", "--timeout", "1s"]));
}
