//! What can't be a spec, written over the file of a VM that runs: it is said
//! where and what to write instead, and nothing that runs notices.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use banger_core::problem::Problem;
use banger_core::text;

use super::*;

/// The corpus writes of a VM `web` and an image `debian-12`.
const DEBIAN: &str = "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {name: debian-12}\n\
                      spec: {rootfs: {disk: {path: /srv/debian.ext4}}}\n";

fn guest(name: &str, more: &str) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\n\
         spec:\n  image: debian-12\n{more}"
    )
}

/// A daemon with `web`, `db`, their image, and which processes they are.
struct Running {
    daemon: Daemon,
    before: Vec<(VmUid, Option<u32>)>,
}

impl Running {
    async fn start() -> Self {
        let daemon = Daemon::start().await;
        daemon.write("image.yaml", DEBIAN).await;
        daemon.write("web.yaml", &guest("web", "")).await;
        let port = "  network: {ports: [{host: 8080, guest: 80}]}\n";
        daemon.write("db.yaml", &guest("db", port)).await;
        let before = Self::now(&daemon).await;
        Self { daemon, before }
    }

    async fn now(daemon: &Daemon) -> Vec<(VmUid, Option<u32>)> {
        let mut all = Vec::new();
        for vm in ["web", "db"] {
            let object = daemon.ready(vm).await;
            all.push((uid(&object), pid(&object)));
        }
        all
    }

    /// Has `file`, which holds `good`, become something bad and good again.
    /// Answers what was said meanwhile, in the words of the owner's terminal.
    async fn endures(&self, what: &str, file: &str, good: &str, make: impl Fn(&Path)) -> String {
        let path = self.daemon.path(file);
        fs::remove_file(&path).unwrap();
        make(&path);
        self.daemon.handle.sync().await.unwrap();
        let said = |now: &Published| now.problems.iter().any(|problem| problem.file == path);
        let now = self.daemon.until(what, said).await;
        let mut words = String::new();
        for problem in &now.problems {
            is_told(what, &now, problem, file);
            let shown = Problem {
                file: format!("{what}.yaml").into(),
                ..problem.clone()
            };
            words.push_str(&text::render(&shown));
        }
        // Longer than any missing document takes to count as a deletion.
        tokio::time::sleep(Duration::from_secs(65)).await;
        assert_eq!(Self::now(&self.daemon).await, self.before, "{what}");
        let now = Arc::clone(&self.daemon.handle.published().borrow());
        assert!(said(&now), "{what} is forgotten");

        remove(&path);
        self.daemon.write(file, good).await;
        let mended = |now: &Published| {
            let images = now.objects(Kind::Image, Some(&name("debian-12")));
            now.problems.is_empty()
                && ["web", "db"].map(|vm| is_accepted(&get(now, vm).unwrap())) == [true, true]
                && is_accepted(&images[0])
        };
        self.daemon.until(&format!("{what} mended"), mended).await;
        assert_eq!(Self::now(&self.daemon).await, self.before, "{what} mended");
        words
    }
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

fn is_accepted(object: &Object) -> bool {
    condition(object, ConditionType::Accepted)
        .is_some_and(|(status, _)| status == ConditionStatus::True)
}

/// The object that the problem is about, or that its file declared before,
/// isn't `Accepted`, and its message has the place.
fn is_told(what: &str, now: &Published, problem: &Problem, file: &str) {
    assert!(problem.file.ends_with(file), "{what}: {problem:?}");
    let before = match file {
        "image.yaml" => (Kind::Image, name("debian-12")),
        _ => (Kind::VirtualMachine, name("web")),
    };
    let (kind, object) = problem.object.clone().unwrap_or(before);
    let object = now.objects(kind, Some(&object)).pop();
    let object = object.unwrap_or_else(|| panic!("{what}: no such object: {problem:?}"));
    let (status, message) = condition(&object, ConditionType::Accepted).unwrap();
    assert_eq!(status, ConditionStatus::False, "{what}");
    let place = match problem.at {
        Some((line, column)) => format!("{}:{line}:{column}: ", problem.file.display()),
        None => format!("{}: ", problem.file.display()),
    };
    assert!(message.contains(&place), "{what}: {place} in {message}");
    let remedy = problem.remedy.as_ref().unwrap();
    assert!(message.contains(remedy), "{what}: {remedy} in {message}");
}

#[tokio::test(start_paused = true)]
async fn no_bad_spec_harms_what_runs() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/corpus");
    let mut cases: Vec<PathBuf> = fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    cases.sort();
    assert!(cases.len() > 100, "{}", cases.len());
    let running = Running::start().await;
    for case in cases {
        let what = case.file_stem().unwrap().to_str().unwrap();
        let (file, good) = if what.starts_with("image-") {
            ("image.yaml", DEBIAN.to_owned())
        } else {
            ("web.yaml", guest("web", ""))
        };
        let bad = fs::read(&case).unwrap();
        let words = running
            .endures(what, file, &good, |path| fs::write(path, &bad).unwrap())
            .await;
        // The words that the corpus has for it, with this daemon's home.
        let expected = fs::read_to_string(case.with_extension("txt")).unwrap();
        let words = words.replace("/home/owner", "/home/me");
        assert_eq!(words, expected, "{what}");
    }
}

/// What no editor writes, and what only the other documents make bad.
#[tokio::test(start_paused = true)]
async fn nothing_in_the_place_of_a_file_harms_what_runs() {
    let mut bomb = guest("web", "  labels: &a [x,x,x,x,x,x,x,x,x]\n");
    for (from, to) in ["ab", "bc", "cd", "de", "ef"].map(|pair| pair.split_at(1)) {
        let nine = vec![format!("*{from}"); 9].join(",");
        bomb.push_str(&format!("  {to}: &{to} [{nine}]\n"));
    }
    let web = |more: &str| guest("web", more).into_bytes();
    let texts: [(&str, Vec<u8>, &str); 8] = [
        ("bomb", bomb.into_bytes(), "stand for too many values"),
        ("brackets", b"[".repeat(20_000), "brackets.yaml:1:33: "),
        (
            "latin-1",
            b"# \na: caf\xe9\n".to_vec(),
            "latin-1.yaml:2:7: ",
        ),
        (
            "empty",
            Vec::new(),
            "empty.yaml: the file holds no document",
        ),
        (
            "image-nowhere",
            String::from_utf8(web(""))
                .unwrap()
                .replace("debian-12", "nowhere")
                .into_bytes(),
            "image-nowhere.yaml:5:10: no file declares an image `nowhere`",
        ),
        (
            "port-clash",
            web("  network: {ports: [{host: 8080, guest: 80}]}\n"),
            "port-clash.yaml:6:13: tcp port 8080 of the host is already published by VM `db`",
        ),
        (
            "twice",
            [web(""), b"---\n".to_vec(), web("")].concat(),
            "twice.yaml:",
        ),
        ("half", web("")[..40].to_vec(), "half.yaml:"),
    ];
    let running = Running::start().await;
    let good = guest("web", "");
    for (what, bytes, expected) in &texts {
        let words = running
            .endures(what, "web.yaml", &good, |path| {
                fs::write(path, bytes).unwrap()
            })
            .await;
        assert!(words.contains(expected), "{what}: {words}");
    }
    type Make = fn(&Path);
    let things: [(&str, Make, &str); 5] = [
        ("large", large, "longer than 1 MiB"),
        ("fifo", fifo, "this is a FIFO"),
        (
            "loop",
            |path| symlink("web.yaml", path).unwrap(),
            "leads back to itself",
        ),
        (
            "gone",
            |path| symlink("nowhere", path).unwrap(),
            "`nowhere`, which isn't there",
        ),
        (
            "folder",
            |path| fs::create_dir(path).unwrap(),
            "this is a directory",
        ),
    ];
    for (what, make, expected) in things {
        let words = running.endures(what, "web.yaml", &good, make).await;
        assert!(words.contains(expected), "{what}: {words}");
    }
}

/// Two have all the addresses that there are: a third gets none, and they keep theirs.
#[tokio::test(start_paused = true)]
async fn a_full_subnet_is_told_and_harms_nobody() {
    let (place, host) = (Daemon::place(), FakeHost::new());
    let daemon = Daemon::adjusted(place, host, Instant::now(), |settings| {
        settings.rules.slots = 2;
    });
    daemon.write("image.yaml", DEBIAN).await;
    for vm in ["web", "db"] {
        daemon.write(&format!("{vm}.yaml"), &guest(vm, "")).await;
    }
    let before = Running::now(&daemon).await;
    // Before the others by name, and so before them where addresses are given out.
    daemon.write("ann.yaml", &guest("ann", "")).await;
    let now = daemon.until("told", |now| !now.problems.is_empty()).await;
    let [problem] = now.problems.as_slice() else {
        panic!("{:?}", now.problems)
    };
    assert_eq!(problem.file, daemon.path("ann.yaml"));
    assert_eq!(problem.at, Some((3, 18)));
    assert!(problem.message.contains("172.30.0.0/16"), "{problem:?}");
    let remedy = problem.remedy.as_deref();
    assert_eq!(
        remedy,
        Some("delete a VM, or install banger with a larger `--subnet`")
    );
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(Running::now(&daemon).await, before);

    // The address of one that goes is the next one's.
    daemon.remove("db.yaml").await;
    daemon.ready("ann").await;
    let mended = daemon.until("mended", |now| now.problems.is_empty()).await;
    let web = get(&mended, "web").unwrap();
    assert_eq!((uid(&web), pid(&web)), before[0]);
}

fn large(path: &Path) {
    fs::File::create(path).unwrap().set_len(100 << 20).unwrap();
}

fn fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}
