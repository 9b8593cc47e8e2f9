//! `get`, `describe`, `events`, `logs`.

use banger::wire::{Request, Response};
use serde_json::json;

use crate::bench::Bench;
use crate::objects::{
    ago, condition, image_json, object, objects, response, steady, vm, vm_in, vm_json,
};

#[test]
fn a_table_of_vms() {
    let bench = Bench::new();
    let mut waiting = vm_json("db");
    waiting["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .extend([
            condition("RestartRequired", "True", "SpecChanged", "vcpus"),
            condition("UpdateAvailable", "False", "No", ""),
        ]);
    bench.daemon(steady(vec![
        vm_in("a-rather-long-name", "Booting"),
        object(waiting),
        vm("web"),
    ]));
    insta::assert_snapshot!(bench.banger(&["get", "vms"]));
    insta::assert_snapshot!(
        "a_wide_table_of_vms",
        bench.banger(&["get", "vms", "-o", "wide"])
    );
    insta::assert_snapshot!(bench.banger(&["get", "vm", "-o", "name"]).stdout, @r"
    vm/a-rather-long-name
    vm/db
    vm/web
    ");
    assert_eq!(bench.banger(&["vm", "list"]), bench.banger(&["get", "vms"]));
}

#[test]
fn a_table_of_images() {
    let bench = Bench::new();
    let mut importing = image_json("ubuntu");
    importing["status"]["phase"] = "Importing".into();
    importing["status"]["progress"] = 42.into();
    importing["status"]
        .as_object_mut()
        .unwrap()
        .remove("imageDigest");
    let list = [object(image_json("debian-12")), object(importing)];
    bench.daemon(move |_| vec![objects(&list)]);
    insta::assert_snapshot!(bench.banger(&["get", "images"]));
}

#[test]
fn documents_that_are_not_accepted_stand_below() {
    let bench = Bench::new();
    bench.daemon(|_| {
        vec![response(json!({
            "response": "objects", "objects": [],
            "problems": [{
                "file": "/home/ada/.config/banger/vms/web.yaml", "at": [3, 9], "object": null,
                "field": "spec.memory", "message": "`lots` is not an amount of bytes\u{1b}[2J",
                "remedy": "write 512Mi", "line": "memory: lots",
            }],
        }))]
    });
    insta::assert_snapshot!(bench.banger(&["get", "vms"]));
}

#[test]
fn one_as_a_document_that_is_read_back() {
    let bench = Bench::new();
    bench.daemon(steady(vec![vm("web")]));
    let json = bench.banger(&["get", "vm", "web", "-o", "json"]);
    assert_eq!(
        object(serde_json::from_str(&json.stdout).unwrap())
            .metadata
            .name
            .as_str(),
        "web"
    );
    let yaml = bench.banger(&["get", "vm/web", "-o", "yaml"]);
    assert!(
        yaml.stdout
            .starts_with("apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\n")
    );
    let list = bench.banger(&["get", "vms", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("List"), &json!("VirtualMachine"))
    );
}

#[test]
fn several_as_a_list_of_documents() {
    let bench = Bench::new();
    bench.daemon(steady(vec![vm("db"), vm("web")]));
    let json = bench.banger(&["get", "vms", "-o", "json"]);
    let yaml = bench.banger(&["get", "vms", "-o", "yaml"]);
    assert_eq!((yaml.code, yaml.stderr.as_str()), (Some(0), ""), "{yaml}");
    let head = "apiVersion: banger.dev/v1alpha1\nkind: List\nitems:\n- apiVersion: ";
    assert!(yaml.stdout.starts_with(head), "{yaml}");
    let parsed: serde_json::Value = serde_yaml::from_str(&yaml.stdout).unwrap();
    let same: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(parsed, same);
    let names = ["db", "web"];
    for (item, name) in parsed["items"].as_array().unwrap().iter().zip(names) {
        assert_eq!(object(item.clone()).metadata.name.as_str(), name);
    }
    assert_eq!(parsed["items"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_not_there() {
    let bench = Bench::new();
    bench.daemon(steady(Vec::new()));
    let none = bench.banger(&["get", "vms"]);
    assert_eq!(
        (none.code, none.stdout.as_str(), none.stderr.as_str()),
        (Some(0), "", "No vms found.\n")
    );
    let one = bench.banger(&["get", "vm", "web"]);
    assert_eq!((one.code, one.stdout.as_str()), (Some(3), ""));
    assert_eq!(one.stderr, "error: there is no vm/web\n");
    assert_eq!(bench.banger(&["describe", "vm", "web"]).code, Some(3));
}

#[test]
fn a_watch_goes_on_with_what_changes() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        // The second connection ends the test: a daemon that is gone.
        Request::Watch { .. } => vec![
            objects(&[vm("db"), vm_in("web", "Booting")]),
            objects(&[vm("db"), vm("web")]),
            objects(&[vm("db")]),
            response(
                json!({"response": "error", "code": "internal", "message": "over", "remedy": null}),
            ),
        ],
        _ => Vec::new(),
    });
    insta::assert_snapshot!(bench.banger(&["get", "vms", "-w"]));
}

#[test]
fn a_watch_of_names_says_each_that_changes() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Watch { .. } => vec![
            objects(&[vm("db"), vm_in("web", "Booting")]),
            objects(&[vm("db"), vm("web")]),
            response(
                json!({"response": "error", "code": "internal", "message": "over", "remedy": null}),
            ),
        ],
        _ => Vec::new(),
    });
    let watched = bench.banger(&["get", "vms", "-w", "-o", "name"]);
    assert_eq!(watched.stdout, "vm/db\nvm/web\nvm/web\n", "{watched}");
}

#[test]
fn all_about_an_image() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Events { .. } => vec![
            event("Imported", "Normal", "it was imported", 1),
            Response::Done {},
        ],
        _ => vec![objects(&[object(image_json("debian-12"))])],
    });
    let outcome = bench.banger(&["describe", "image", "debian-12"]);
    let created = outcome.stdout.lines().find(|it| it.starts_with("Created:"));
    let created = created.unwrap().to_owned();
    assert!(created.ends_with("(2d1h ago)"), "{created}");
    insta::assert_snapshot!(
        outcome
            .to_string()
            .replace(&created, "Created:      [TIME]")
    );
}

#[test]
fn all_about_one() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Events { .. } => vec![
            event("Created", "Normal", "it was started", 1),
            event(
                "Crashed",
                "Warning",
                "Firecracker ended \u{1b}]0;title\u{7}",
                3,
            ),
            Response::Done {},
        ],
        request => steady(vec![vm("web")])(request),
    });
    let outcome = bench.banger(&["describe", "vm", "web"]);
    let created = outcome
        .stdout
        .lines()
        .find(|line| line.starts_with("Created:"))
        .unwrap()
        .to_owned();
    assert!(created.ends_with("(5h ago)"), "{created}");
    insta::assert_snapshot!(
        outcome
            .to_string()
            .replace(&created, "Created:      [TIME]")
    );
    assert_eq!(bench.banger(&["vm", "show", "web"]).stdout, outcome.stdout);
}

#[test]
fn events_are_a_table() {
    let bench = Bench::new();
    bench.daemon(|request| match request {
        Request::Events { object: None, .. } => {
            vec![
                event("Created", "Normal", "it was started", 1),
                event("Crashed", "Warning", "gone", 3),
                Response::Done {},
            ]
        }
        _ => vec![Response::Done {}],
    });
    insta::assert_snapshot!(bench.banger(&["events"]));
    assert_eq!(
        bench.banger(&["events", "vm/web"]).stderr,
        "No events found.\n"
    );
}

#[test]
fn a_console_cannot_move_the_cursor() {
    let bench = Bench::new();
    let log = bench.write(
        "serial.log",
        "boot\r\n\x1b[2J\x1b[1;1Hlogin: \x07\r\nlast\r\n",
    );
    let mut json = vm_json("web");
    json["status"]["runtime"]["serialLog"] = log.to_str().unwrap().into();
    bench.daemon(steady(vec![object(json)]));
    let outcome = bench.banger(&["logs", "web"]);
    assert_eq!(
        outcome.stdout,
        "boot\n\\x1b[2J\\x1b[1;1Hlogin: \\x07\nlast\n"
    );
    assert_eq!(
        bench.banger(&["logs", "web", "--tail", "1"]).stdout,
        "last\n"
    );
    std::fs::remove_file(log).unwrap();
    let gone = bench.banger(&["logs", "web"]);
    assert_eq!(gone.code, Some(3));
    assert!(
        gone.stderr
            .contains("has written nothing to its console yet"),
        "{gone}"
    );
}

/// `-f` is woken by the kernel; what is cut off at the front is not lost.
#[test]
fn a_console_is_followed() {
    use std::io::{Read as _, Write as _};
    let bench = Bench::new();
    let path = bench.write("serial.log", "one\n");
    let mut json = vm_json("web");
    json["status"]["runtime"]["serialLog"] = path.to_str().unwrap().into();
    bench.daemon(steady(vec![object(json)]));
    let mut child = bench
        .command(&["logs", "-f", "web"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut read = |count| {
        let mut bytes = vec![0; count];
        stdout.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(read(4), "one\n");
    let mut log = std::fs::File::options().append(true).open(&path).unwrap();
    log.write_all(b"two\n").unwrap();
    assert_eq!(read(4), "two\n");
    log.set_len(0).unwrap();
    log.write_all(b"3\n").unwrap();
    assert_eq!(read(2), "3\n");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn event(reason: &str, severity: &str, message: &str, count: u32) -> Response {
    let time = ago(3);
    response(json!({
        "response": "event",
        "event": {
            "id": 1, "time": time, "count": count, "kind": "VirtualMachine", "name": "web",
            "severity": severity, "reason": reason, "message": message,
        },
    }))
}
