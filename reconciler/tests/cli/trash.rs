//! `trash` and `undelete`.

use std::fs;
use std::sync::Mutex;

use banger::wire::{Request, Response};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::objects::{UID, ago, not_found, objects, response, steady, synced, vm};

const OLD_UID: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c070001";
const DOCUMENT: &str = "# the shop\napiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\nspec: {image: debian-12} # as it was\n";

fn entry(uid: &str, hours: i64, file: Option<&str>) -> Value {
    json!({
        "id": format!("{uid}-web-20261124T120000Z"), "uid": uid, "name": "web", "disk": null,
        "disks": ["cow", "work"], "taken": 38_797_312_u64, "trashed": ago(hours),
        "expiresInSeconds": 6 * 86_400, "document": {"file": file, "text": DOCUMENT},
    })
}

fn replaced() -> Value {
    json!({
        "id": format!("{UID}-db-20261124T120000Z"), "uid": UID, "name": "db", "disk": "cow",
        "disks": ["cow"], "taken": 4096, "trashed": ago(3), "expiresInSeconds": 3600,
        "document": null,
    })
}

/// A daemon that holds no VM and these entries, and takes the document that is
/// put back for the VM of the entry that was asked for last.
fn trash(entries: Vec<Value>) -> impl Fn(&Request) -> Vec<Response> + Send + Sync {
    let quiet = steady(Vec::new());
    let asked = Mutex::new(UID.to_owned());
    move |request| match request {
        Request::Trash {} => vec![response(json!({"response": "trash", "entries": entries}))],
        Request::Undelete { id } => {
            id[..UID.len()].clone_into(&mut asked.lock().unwrap());
            vec![Response::Done {}]
        }
        Request::Sync {} => {
            let uid = asked.lock().unwrap().clone();
            let admitted =
                json!({"kind": "VirtualMachine", "name": "web", "uid": uid, "generation": 2});
            vec![response(
                json!({"response": "synced", "admitted": [admitted], "problems": []}),
            )]
        }
        Request::Watch { .. } => vec![objects(&[vm("web")])],
        request => quiet(request),
    }
}

#[test]
fn a_table_of_the_trash() {
    let bench = Bench::new();
    bench.daemon(trash(vec![entry(OLD_UID, 5, None), replaced()]));
    let outcome = bench.banger(&["trash", "list"]);
    insta::assert_snapshot!(outcome.stdout, @r"
    NAME   UID                                    DISKS      SIZE    TRASHED   EXPIRES
    web    0193f3a0-5b1c-7cc3-98c4-dc0c0c070001   cow,work   37Mi    5h ago    in 6d
    db     0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f   cow        4.0Ki   3h ago    in 60m
    ");
    let names = bench.banger(&["trash", "list", "-o", "name"]).stdout;
    let first = format!("{OLD_UID}-web-20261124T120000Z");
    assert_eq!(names.lines().next(), Some(first.as_str()));
    let json = bench.banger(&["trash", "list", "-o", "json"]).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["items"][0]["document"]["text"], DOCUMENT);
    let wide = bench.banger(&["trash", "list", "-o", "wide"]).stdout;
    assert!(wide.contains("a replaced disk"), "{wide}");
    assert!(wide.contains("the whole VM"), "{wide}");
}

#[test]
fn an_empty_trash_is_said_to_be() {
    let bench = Bench::new();
    bench.daemon(steady(Vec::new()));
    let list = bench.banger(&["trash", "list"]);
    assert_eq!((list.code, list.stdout.as_str()), (Some(0), ""), "{list}");
    let empty = bench.banger(&["trash", "empty", "--yes"]);
    assert_eq!(empty.code, Some(0), "{empty}");
}

#[test]
fn emptying_wants_a_yes_and_takes_only_what_is_named() {
    let bench = Bench::new();
    let daemon = bench.daemon(trash(vec![entry(OLD_UID, 5, None), replaced()]));
    let refused = bench.banger(&["trash", "empty"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("--yes"), "{refused}");
    assert_eq!(daemon.told(), []);
    let unknown = bench.banger(&["trash", "empty", "--yes", "db", "shop"]);
    assert_eq!(unknown.code, Some(3), "{unknown}");
    assert_eq!(daemon.told(), []);
    for word in ["db", UID] {
        let emptied = bench.banger(&["trash", "empty", "--yes", word]);
        assert_eq!(emptied.code, Some(0), "{emptied}");
        let ids = vec![format!("{UID}-db-20261124T120000Z")];
        assert_eq!(daemon.told().pop(), Some(Request::EmptyTrash { ids }));
    }
}

#[test]
fn the_document_is_put_back_and_the_daemon_knows_first() {
    let bench = Bench::new();
    let file = bench.vm_file("shop.yaml");
    let old = entry("0193f3a0-5b1c-7cc3-98c4-dc0c0c070002", 9, None);
    let new = entry(UID, 5, file.to_str());
    let (quiet, place) = (trash(vec![old, new]), file.clone());
    let daemon = bench.daemon(move |request| {
        let told = matches!(request, Request::Undelete { .. });
        assert!(!told || !place.exists(), "written before the daemon knew");
        quiet(request)
    });
    let outcome = bench.banger(&["undelete", "vm", "web"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stdout.contains(UID), "{outcome}");
    assert_eq!(fs::read_to_string(&file).unwrap(), DOCUMENT);
    let id = format!("{UID}-web-20261124T120000Z");
    assert_eq!(daemon.told(), [Request::Undelete { id }]);
}

#[test]
fn what_stands_in_the_file_now_stays() {
    let bench = Bench::new();
    let neighbour = DOCUMENT.replace("web", "db").replace("shop", "books");
    fs::write(bench.vm_file("shop.yaml"), &neighbour).unwrap();
    let file = bench.vm_file("shop.yaml");
    let daemon = bench.daemon(trash(vec![
        entry(OLD_UID, 9, None),
        entry(UID, 5, file.to_str()),
    ]));
    let outcome = bench.banger(&["undelete", "vm", "web", "--wait=false"]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(&neighbour), "{text}");
    assert!(
        text.contains("name: web") && text.contains("# the shop"),
        "{text}"
    );
    // The older one has to be asked for; its file isn't known.
    fs::write(&file, &neighbour).unwrap();
    let older = bench.banger(&["undelete", "vm", "web", "--wait=false", "--uid", OLD_UID]);
    assert_eq!(older.code, Some(0), "{older}");
    assert_eq!(
        fs::read_to_string(bench.vm_file("web.yaml")).unwrap(),
        DOCUMENT
    );
    assert_eq!(daemon.told().len(), 2);
}

#[test]
fn what_is_there_is_never_written_over() {
    let bench = Bench::new();
    let daemon = bench.daemon(trash(vec![entry(UID, 5, None)]));
    for text in [DOCUMENT, "not: a document\n"] {
        fs::write(bench.vm_file("web.yaml"), text).unwrap();
        let outcome = bench.banger(&["undelete", "vm", "web"]);
        assert_eq!(outcome.code, Some(6), "{outcome}");
        assert_eq!(fs::read_to_string(bench.vm_file("web.yaml")).unwrap(), text);
    }
    assert_eq!(daemon.told(), []);
}

#[test]
fn a_namesake_that_lives_is_in_the_way() {
    let bench = Bench::new();
    let daemon = bench.daemon(steady(vec![vm("web")]));
    let outcome = bench.banger(&["undelete", "vm", "web"]);
    assert_eq!(outcome.code, Some(6), "{outcome}");
    assert!(outcome.stderr.contains("banger rename vm web"), "{outcome}");
    assert_eq!(daemon.told(), []);
}

#[test]
fn what_the_trash_does_not_hold() {
    let bench = Bench::new();
    let daemon = bench.daemon(|request| match request {
        Request::List { .. } => vec![not_found("vm/db")],
        request => trash(vec![replaced()])(request),
    });
    let outcome = bench.banger(&["undelete", "vm", "db"]);
    assert_eq!(outcome.code, Some(3), "{outcome}");
    assert_eq!(daemon.told(), []);
}

#[test]
fn an_undeletion_that_cannot_be_written_is_taken_back() {
    let bench = Bench::new();
    let file = bench.vm_file("web.yaml");
    let (quiet, place) = (trash(vec![entry(UID, 5, None)]), file.clone());
    let daemon = bench.daemon(move |request| {
        if matches!(request, Request::Undelete { .. }) {
            fs::write(&place, "somebody else's\n").unwrap();
        }
        quiet(request)
    });
    let outcome = bench.banger(&["undelete", "vm", "web"]);
    assert_eq!(outcome.code, Some(6), "{outcome}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody else's\n");
    let id = format!("{UID}-web-20261124T120000Z");
    let told = [
        Request::Undelete { id: id.clone() },
        Request::LeaveInTrash { id },
    ];
    assert_eq!(daemon.told(), told);
}

/// The file that it stood in is a dotfile manager's now.
#[test]
fn a_read_only_file_is_named_and_the_daemon_not_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    let target = bench.write("work/store.yaml", &DOCUMENT.replace("web", "db"));
    fs::set_permissions(&target, fs::Permissions::from_mode(0o444)).unwrap();
    let file = bench.vm_file("shop.yaml");
    std::os::unix::fs::symlink(&target, &file).unwrap();
    let daemon = bench.daemon(trash(vec![entry(UID, 5, file.to_str())]));
    let outcome = bench.banger(&["undelete", "vm", "web"]);
    assert_eq!(outcome.code, Some(6), "{outcome}");
    assert!(
        outcome.stderr.contains("store.yaml is read-only"),
        "{outcome}"
    );
    assert_eq!(daemon.told(), []);
}

/// Whatever the document became, it isn't said to be what it isn't.
#[test]
fn another_vm_than_the_one_that_was_asked_for_is_no_success() {
    let bench = Bench::new();
    let quiet = trash(vec![entry(OLD_UID, 5, None)]);
    bench.daemon(move |request| match request {
        Request::Sync {} => synced(&["web"]),
        request => quiet(request),
    });
    let outcome = bench.banger(&["undelete", "vm", "web"]);
    assert_eq!(outcome.code, Some(6), "{outcome}");
    assert_eq!(outcome.stdout, "", "{outcome}");
    assert!(outcome.stderr.contains(UID), "{outcome}");
}
