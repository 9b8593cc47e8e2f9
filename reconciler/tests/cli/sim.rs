//! Both programs together, on the simulated host: what needs more than a script
//! of answers. Many documents at once, and events as they come.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::bench::Bench;
use crate::sandbox::bangerd;

/// For what comes at once; a machine may be busy.
const SOON: Duration = Duration::from_secs(60);

const IMAGE: &str = "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian}\n\
                     spec: {rootfs: {disk: {path: /srv/debian.ext4}}}\n";

fn vm(name: &str, vcpus: u8) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\n\
         spec: {{image: debian, vcpus: {vcpus}}}\n"
    )
}

/// `bangerd --sim`, until this is dropped.
struct Sim {
    bench: Bench,
    daemon: Child,
}

impl Sim {
    fn start() -> Self {
        Self::on(Bench::new())
    }

    /// With what the owner has there already.
    fn on(bench: Bench) -> Self {
        let systemd = UnixDatagram::bind(bench.path("notify")).unwrap();
        systemd.set_read_timeout(Some(SOON)).unwrap();
        let daemon = bangerd(&bench, "state")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sim = Self { bench, daemon };
        systemd.recv(&mut [0; 64]).unwrap();
        sim
    }

    fn end(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    /// The file of each document in the owner's directories, by its path there.
    fn declared(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for directory in ["images", "vms"] {
            let path = self.bench.path("home/.config/banger").join(directory);
            for entry in fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                let text = fs::read_to_string(&path).unwrap();
                all.insert(format!("{directory}/{name}"), text);
            }
        }
        all
    }

    /// Name, phase and pid of each VM.
    fn vms(&self) -> Vec<(String, String, Option<u64>)> {
        let outcome = self.bench.banger(&["get", "vms", "-o", "json"]);
        let list: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let vms = list["items"].as_array().unwrap().iter().map(|vm| {
            let (name, status) = (text(&vm["metadata"]["name"]), &vm["status"]);
            let pid = status["handles"]["pid"].as_u64();
            (name, text(&status["phase"]), pid)
        });
        vms.collect()
    }

    fn pid(&self, name: &str) -> u64 {
        let vms = self.vms();
        let vm = vms.iter().find(|vm| vm.0 == name).unwrap();
        assert_eq!(vm.1, "Ready", "{vms:?}");
        vm.2.unwrap()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The head of each entry of a diff.
fn heads(diff: &str) -> Vec<&str> {
    let mut heads: Vec<&str> = diff.lines().filter(|it| !it.starts_with(' ')).collect();
    heads.sort_unstable();
    heads
}

fn everything(web: u8) -> BTreeMap<String, String> {
    [
        ("images/debian.yaml", IMAGE.to_owned()),
        ("vms/db.yaml", vm("db", 1)),
        ("vms/web.yaml", vm("web", web)),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .into()
}

#[test]
fn a_directory_is_previewed_applied_and_edited() {
    let sim = Sim::start();
    let bench = &sim.bench;
    fs::create_dir(bench.path("work/given")).unwrap();
    let of = ["-f", "given"];
    let diff = || bench.banger(&[&["diff"], &of[..]].concat());
    let apply = |more: &[&str]| bench.banger(&[&["apply"], &of[..], more].concat());
    let empty = apply(&[]);
    assert_eq!(empty.code, Some(2), "{empty}");
    assert!(empty.stderr.contains("holds no *.yaml"), "{empty}");

    bench.write("work/given/image.yml", IMAGE);
    let both = |web| format!("{}---\n{}", vm("db", 1), vm("web", web));
    bench.write("work/given/vms.yaml", &both(1));
    // What the daemon doesn't read in its directories isn't read here either.
    bench.write("work/given/.draft.yaml", "{{{{");
    bench.write("work/given/notes.txt", "{{{{");

    let shown = diff();
    assert_eq!(shown.code, Some(1), "{shown}");
    let all = ["+ create image/debian", "+ create vm/db", "+ create vm/web"];
    assert_eq!(heads(&shown.stdout), all);
    assert_eq!(sim.declared(), BTreeMap::new(), "a preview wrote something");

    let applied = apply(&[]);
    assert_eq!(
        (applied.code, applied.stdout.as_str()),
        (
            Some(0),
            "image/debian created\nvm/db created\nvm/web created\n"
        ),
        "{applied}"
    );
    assert_eq!(sim.declared(), everything(1));
    let (db, web) = (sim.pid("db"), sim.pid("web"));
    let nothing = diff();
    assert_eq!(
        (nothing.code, nothing.stdout.as_str()),
        (Some(0), ""),
        "{nothing}"
    );

    // One document of one file is another one: nobody else is in it.
    bench.write("work/given/vms.yaml", &both(2));
    let shown = diff();
    assert_eq!(shown.code, Some(1), "{shown}");
    assert_eq!(heads(&shown.stdout), ["~ modify vm/web  (restart)"]);
    assert_eq!(sim.declared(), everything(1), "a preview wrote something");
    let applied = apply(&["--restart"]);
    assert_eq!(
        (applied.code, applied.stdout.as_str()),
        (
            Some(0),
            "image/debian unchanged\nvm/db unchanged\nvm/web configured\n"
        ),
        "{applied}"
    );
    assert_eq!(sim.declared(), everything(2));
    assert_eq!(sim.pid("db"), db);
    assert_ne!(sim.pid("web"), web);
}

#[test]
fn what_the_configuration_says_is_what_the_daemon_does() {
    let bench = Bench::new();
    fs::create_dir(bench.path("home/.config/banger/machines")).unwrap();
    let write = |file: &str, text: &str| bench.write(&format!("home/.config/banger/{file}"), text);
    write(
        "config.toml",
        "[directories]\nvms = \"machines\"\n[defaults]\nvcpus = 3\n",
    );
    write("images/debian.yaml", IMAGE);
    let silent = vm("web", 1).replace(", vcpus: 1", "");
    write("machines/web.yaml", &silent);
    write("vms/db.yaml", &vm("db", 1));
    let sim = Sim::on(bench);
    let is_ready = ["wait", "--for=condition=Ready", "vm/web"];
    let waited = sim.bench.banger(&is_ready);
    assert_eq!(waited.code, Some(0), "{waited}");
    let list = sim.bench.banger(&["get", "vms", "-o", "json"]);
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    let vms: Vec<_> = list["items"].as_array().unwrap().iter().collect();
    assert_eq!(vms.len(), 1, "{list}");
    assert_eq!(vms[0]["spec"]["vcpus"], 3, "{list}");
    // And where `apply` writes.
    let applied = sim.bench.banger_with(&["apply", "-f", "-"], &vm("shop", 2));
    assert_eq!(applied.code, Some(0), "{applied}");
    let written = sim.bench.read("home/.config/banger/machines/shop.yaml");
    assert_eq!(written, vm("shop", 2));
}

/// What an installation decided isn't the owner's to decide otherwise.
#[test]
fn another_subnet_than_the_installations_is_refused() {
    let bench = Bench::new();
    let install = bench.write(
        "install.toml",
        "owner = \"ada\"\nownerUid = 1000\nownerGid = 1000\n\
         stateDir = \"/nowhere/state\"\njailDir = \"/nowhere/jail\"\nbridge = \"br-banger\"\n\
         subnet = \"172.30.0.0/16\"\nuidBase = 200000\nslots = 100\n\
         firecracker = \"/nowhere/firecracker\"\njailer = \"/nowhere/jailer\"\n\
         agent = \"/nowhere/agent\"\n",
    );
    for (key, wanted, installed) in [
        ("subnet", "10.9.0.0/16", "172.30.0.0/16"),
        ("ipv6", "fd12:3456:789a:1::/64", "fdba:ac1e:0:10::/64"),
    ] {
        let config = format!("[network]\n{key} = \"{wanted}\"\n");
        bench.write("home/.config/banger/config.toml", &config);
        let output = Command::new(env!("CARGO_BIN_EXE_bangerd"))
            .arg("--install")
            .arg(&install)
            .arg("--state-dir")
            .arg(bench.path("state"))
            .arg("--socket")
            .arg(bench.socket())
            .env_clear()
            .env("HOME", bench.path("home"))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let told = format!("network.{key} is {wanted}, but banger was installed with {installed}");
        assert!(said.contains(&told), "{said}");
        assert!(said.contains("Take the line out of config.toml"), "{said}");
    }
}

/// One that is wrong keeps all of them back, and its file and line are told.
#[test]
fn a_directory_with_a_mistake_is_not_applied_in_part() {
    let sim = Sim::start();
    let bench = &sim.bench;
    fs::create_dir(bench.path("work/given")).unwrap();
    bench.write("work/given/a.yaml", &format!("{IMAGE}---\n{}", vm("db", 1)));
    bench.write("work/given/b.yaml", &vm("web", 1).replace("vcpus", "vcpu"));
    for command in ["diff", "apply"] {
        let refused = bench.banger(&[command, "-f", "given"]);
        assert_eq!(refused.code, Some(2), "{refused}");
        assert_eq!(refused.stdout, "", "{refused}");
        assert!(refused.stderr.contains("given/b.yaml:4:"), "{refused}");
    }
    assert_eq!(sim.declared(), BTreeMap::new());
    assert_eq!(sim.vms(), []);
}

#[test]
fn a_stream_of_documents_is_applied() {
    let sim = Sim::start();
    let apply = |text: &str| sim.bench.banger_with(&["apply", "-f", "-"], text);
    let stream = |web| format!("---\n{IMAGE}---\n{}---\n{}", vm("db", 1), vm("web", web));
    let applied = apply(&stream(1));
    assert_eq!(
        (applied.code, applied.stdout.as_str()),
        (
            Some(0),
            "image/debian created\nvm/db created\nvm/web created\n"
        ),
        "{applied}"
    );
    // Each is a file of its own, where documents of its kind are.
    assert_eq!(sim.declared(), everything(1));
    let (db, web) = (sim.pid("db"), sim.pid("web"));
    let again = apply(&stream(1));
    assert_eq!(
        (again.code, again.stdout.as_str()),
        (
            Some(0),
            "image/debian unchanged\nvm/db unchanged\nvm/web unchanged\n"
        ),
        "{again}"
    );

    // The third of three is wrong, or the same as another: none is taken.
    let wrong = stream(2).replace("vcpus: 2", "vcpus: two");
    let twice = format!("{}---\n{}", stream(2), vm("db", 2));
    for (text, why) in [(wrong, "<stdin>:15:"), (twice, "declared more than once")] {
        let refused = apply(&text);
        assert_eq!(refused.code, Some(2), "{refused}");
        assert!(refused.stderr.contains(why), "{refused}");
    }
    assert_eq!(sim.declared(), everything(1));
    assert_eq!((sim.pid("db"), sim.pid("web")), (db, web));
}

/// The lines that a command prints, as they come.
fn lines(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Reason and object of a row, whose age may have a count behind it.
fn row(line: &str) -> (String, String) {
    let words = line.split_whitespace().filter(|it| !it.starts_with("(x"));
    let words: Vec<&str> = words.collect();
    (words[2].to_owned(), words[3].to_owned())
}

#[test]
fn events_are_followed_as_they_come() {
    let mut sim = Sim::start();
    let apply = |sim: &Sim, text: &str| {
        let applied = sim.bench.banger_with(&["apply", "-f", "-"], text);
        assert_eq!(applied.code, Some(0), "{applied}");
    };
    apply(&sim, &format!("{IMAGE}---\n{}", vm("db", 1)));
    let watch = |sim: &Sim, of: &[&str]| {
        let mut command = sim.bench.command(&[&["events", "-w"], of].concat());
        let streams = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        streams.spawn().unwrap()
    };
    let (mut all, mut webs) = (watch(&sim, &[]), watch(&sim, &["vm/web"]));
    let (of_all, of_web) = (lines(&mut all), lines(&mut webs));
    let until = |lines: &Receiver<String>, reason: &str, object: &str| {
        let mut seen = Vec::new();
        while seen.last() != Some(&(reason.to_owned(), object.to_owned())) {
            let line = lines.recv_timeout(SOON);
            let line = line.unwrap_or_else(|_| panic!("no {reason} {object} after {seen:?}"));
            seen.push(row(&line));
        }
        seen
    };
    // What was before comes first, under the headings.
    let seen = until(&of_all, "Ready", "vm/db");
    assert_eq!(seen[0], ("TYPE".to_owned(), "REASON".to_owned()));
    let count = |wanted: &str| seen.iter().filter(|it| it.0 == wanted).count();
    assert_eq!((count("Imported"), count("Ready")), (1, 2), "{seen:?}");

    // Then what comes, each once, and of one object where one was named.
    apply(&sim, &vm("web", 1));
    until(&of_all, "Ready", "vm/web");
    let mut told = until(&of_web, "Ready", "vm/web");
    assert_eq!(told.remove(0), ("TYPE".to_owned(), "REASON".to_owned()));
    let stopped = sim.bench.banger(&["vm", "stop", "db", "web"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    until(&of_all, "Stopping", "vm/web");
    told.extend(until(&of_web, "Stopping", "vm/web"));
    let expected = ["Admitted", "Creating", "Ready", "StopRequested", "Stopping"];
    let expected = expected.map(|reason| (reason.to_owned(), "vm/web".to_owned()));
    assert_eq!(told, expected);

    // A daemon that goes ends it, and not as if that were the end of all events.
    sim.end();
    for child in [all, webs] {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains("the daemon went away"), "{said}");
    }
}
