#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use banger_core::reading::Reading;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::names::counts;
use super::watch::wakes;
use super::{Sources, Watch};
use crate::wire::request::OverlayFile;

struct Config {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Config {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("vms")).unwrap();
        fs::create_dir(dir.path().join("images")).unwrap();
        let directories = ["vms", "images"].map(|name| dir.path().join(name));
        let sources = Sources::new(&directories, Path::new("/home/owner"));
        Self { dir, sources }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("vms").join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&mut self) -> Reading {
        self.sources.read([].iter())
    }

    /// The message of the only problem.
    fn problem(&mut self) -> String {
        let reading = self.read();
        assert_eq!(reading.incomplete, None);
        let problems: Vec<_> = reading.files.iter().flat_map(|f| &f.problems).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].remedy.is_some());
        problems[0].message.clone()
    }
}

fn vm(name: &str) -> String {
    format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\n\
         metadata: {{name: {name}}}\nspec: {{image: debian}}\n"
    )
}

fn names(reading: &Reading) -> Vec<String> {
    let documents = reading.files.iter().flat_map(|file| &file.validated);
    documents.map(|d| d.metadata.name.to_string()).collect()
}

#[test]
fn documents_of_both_directories_are_read_in_order() {
    let mut config = Config::new();
    config.write("web.yaml", &vm("web"));
    config.write("db.yml", &format!("{}---\n{}", vm("db"), vm("db2")));
    fs::write(config.dir.path().join("images/x.yaml"), vm("x")).unwrap();
    let reading = config.read();
    assert_eq!(names(&reading), ["x", "db", "db2", "web"]);
    assert_eq!(reading.incomplete, None);
}

#[test]
fn what_editors_leave_beside_a_file_is_ignored() {
    for name in [
        ".web.yaml",
        ".#web.yaml",
        "#web.yaml",
        "#web.yaml#",
        "web.yaml~",
        ".web.yaml.swp",
        "web.yaml.swp",
        "web.yaml.bak",
        "web.yaml___jb_tmp___",
        "4913",
        "sedA1b2C3",
        ".goutputstream-1A2B3C",
        "README.md",
        "web.json",
    ] {
        assert!(!counts(name.as_ref()), "{name}");
    }
    for name in ["web.yaml", "web.yml", "a.b.yaml", "-.yaml"] {
        assert!(counts(name.as_ref()), "{name}");
    }
}

#[test]
fn an_edit_is_seen_even_if_size_and_second_stay() {
    let mut config = Config::new();
    config.write("web.yaml", &vm("one"));
    assert_eq!(names(&config.read()), ["one"]);
    config.write("web.yaml", &vm("two"));
    assert_eq!(names(&config.read()), ["two"]);
    fs::remove_file(config.path("web.yaml")).unwrap();
    assert_eq!(names(&config.read()), Vec::<String>::new());
}

#[test]
fn links_are_followed_and_their_ends_watched() {
    let mut config = Config::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let middle = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("real"), vm("web")).unwrap();
    symlink(elsewhere.path().join("real"), middle.path().join("hop")).unwrap();
    symlink(middle.path().join("hop"), config.path("web.yaml")).unwrap();
    let reading = config.read();
    assert_eq!(names(&reading), ["web"]);
    assert_eq!(reading.files[0].path, config.path("web.yaml"));
    let watched = config.sources.watched();
    for directory in [
        elsewhere.path(),
        middle.path(),
        config.dir.path(),
        &config.path(""),
    ] {
        let same = watched
            .iter()
            .any(|path| path.components().eq(directory.components()));
        assert!(same, "{directory:?} not in {watched:?}");
    }
}

#[test]
fn dangling_links_and_loops_are_problems() {
    let mut config = Config::new();
    symlink("nowhere", config.path("a.yaml")).unwrap();
    assert!(config.problem().contains("symbolic link to `nowhere`"));
    fs::remove_file(config.path("a.yaml")).unwrap();
    symlink("c.yaml", config.path("b.yaml")).unwrap();
    symlink("b.yaml", config.path("c.yaml")).unwrap();
    let reading = config.read();
    assert_eq!(reading.files.len(), 2);
    for file in &reading.files {
        assert!(file.problems[0].message.contains("leads back to itself"));
    }
}

#[test]
fn what_is_no_file_is_a_problem_and_never_a_hang() {
    let mut config = Config::new();
    fs::create_dir(config.path("x.yaml")).unwrap();
    assert!(config.problem().contains("a directory"));
    fs::remove_dir(config.path("x.yaml")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        config.path("x.yaml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(config.problem().contains("a FIFO"));
    fs::remove_file(config.path("x.yaml")).unwrap();
    let _socket = UnixListener::bind(config.path("x.yaml")).unwrap();
    assert!(config.problem().contains("a socket"));
    fs::remove_file(config.path("x.yaml")).unwrap();
    symlink("/dev/zero", config.path("x.yaml")).unwrap();
    assert!(config.problem().contains("a device"));
}

#[test]
fn a_huge_file_is_refused_unread() {
    let mut config = Config::new();
    let file = fs::File::create(config.path("x.yaml")).unwrap();
    file.set_len(100 << 20).unwrap();
    assert!(config.problem().contains("longer than 1 MiB"));
}

#[test]
fn a_file_in_proc_has_no_length_and_is_still_bounded() {
    let mut config = Config::new();
    symlink("/proc/self/cmdline", config.path("x.yaml")).unwrap();
    let reading = config.read();
    assert_eq!(reading.files.len(), 1);
    assert!(!reading.files[0].problems.is_empty());
}

#[test]
fn a_missing_directory_is_empty_only_until_something_came_from_it() {
    let mut config = Config::new();
    fs::remove_dir(config.dir.path().join("images")).unwrap();
    assert_eq!(config.read().incomplete, None);
    let known = [config.dir.path().join("images/debian.yaml")];
    let reading = config.sources.read(known.iter());
    assert!(reading.incomplete.unwrap().contains("images isn't there"));
    let known = [config.write("web.yaml", &vm("web"))];
    assert_eq!(config.sources.read(known.iter()).incomplete, None);
    let gone = config.dir.path().join("gone/vms");
    let reading = Sources::new(&[gone], Path::new("/")).read([].iter());
    assert!(reading.incomplete.is_some());
}

#[test]
fn a_directory_that_is_none_makes_the_reading_incomplete() {
    let mut config = Config::new();
    let images = config.dir.path().join("images");
    fs::remove_dir(&images).unwrap();
    fs::write(&images, "").unwrap();
    assert!(config.read().incomplete.unwrap().contains("can't be read"));
}

#[test]
fn a_file_without_permission_is_a_problem() {
    let mut config = Config::new();
    let path = config.write("x.yaml", &vm("web"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        // Root may read anything; there is nothing to see here.
        assert_eq!(names(&config.read()), ["web"]);
    } else {
        assert!(config.problem().contains("permission denied"));
    }
}

#[test]
fn an_overlay_stands_in_for_files_by_either_name() {
    let mut config = Config::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let real = elsewhere.path().join("real.yaml");
    fs::write(&real, vm("web")).unwrap();
    symlink(&real, config.path("web.yaml")).unwrap();
    config.write("db.yaml", &vm("db"));
    let overlay = [
        OverlayFile {
            path: real.clone(),
            text: Some(vm("web2")),
        },
        OverlayFile {
            path: config.path("db.yaml"),
            text: None,
        },
        OverlayFile {
            path: config.path("new.yaml"),
            text: Some(vm("new")),
        },
    ];
    let reading = config.sources.read_with(&overlay, [].iter());
    assert_eq!(names(&reading), ["new", "web2"]);
    assert_eq!(names(&config.read()), ["db", "web"]);
}

/// Waits for the wake-up, or fails; the time is only the limit.
async fn woken(changed: &Notify) {
    let waited = tokio::time::timeout(Duration::from_secs(10), changed.notified()).await;
    waited.expect("no wake-up");
}

#[tokio::test]
async fn changes_wake_and_reading_does_not() {
    let mut config = Config::new();
    config.write("web.yaml", &vm("web"));
    let changed = Arc::new(Notify::new());
    let mut watch = Watch::new(Arc::clone(&changed)).unwrap();
    config.read();
    let directories = config.sources.watched().clone();
    assert!(watch.arm(&directories));
    assert!(!watch.arm(&directories));
    config.read();
    config.write("web.yaml", &vm("other"));
    woken(&changed).await;
    // Replaced by another directory of the same name: it is watched anew.
    fs::rename(config.path(""), config.dir.path().join("old")).unwrap();
    fs::create_dir(config.path("")).unwrap();
    woken(&changed).await;
    assert!(watch.arm(&directories));
    let mut fresh = Watch::new(Arc::clone(&changed)).unwrap();
    let only: BTreeSet<_> = [config.path("")].into();
    assert!(fresh.arm(&only));
    drop(watch);
    config.write("new.yaml", &vm("new"));
    woken(&changed).await;
}

#[test]
fn all_but_reading_wakes_and_lost_events_do() {
    use notify::event::{AccessKind, AccessMode, CreateKind, Flag, ModifyKind, RemoveKind};
    use notify::{Error, Event, EventKind};
    let read = EventKind::Access(AccessKind::Read);
    for (kind, expected) in [
        (read, false),
        (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
        (
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            false,
        ),
        (
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            true,
        ),
        (EventKind::Create(CreateKind::File), true),
        (EventKind::Modify(ModifyKind::Any), true),
        (EventKind::Remove(RemoveKind::Folder), true),
        (EventKind::Any, true),
        (EventKind::Other, true),
    ] {
        assert_eq!(wakes(&Ok(Event::new(kind))), expected, "{kind:?}");
    }
    // The kernel's queue overflowed: without a path, and of whatever kind.
    for kind in [EventKind::Other, read] {
        assert!(wakes(&Ok(Event::new(kind).set_flag(Flag::Rescan))));
    }
    assert!(wakes(&Err(Error::generic("no more watches"))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever bytes a file holds: reading ends, and gives documents or problems.
    #[test]
    fn any_bytes_give_documents_or_problems(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut config = Config::new();
        fs::write(config.path("x.yaml"), &bytes).unwrap();
        let reading = config.read();
        let file = &reading.files[0];
        prop_assert!(!file.problems.is_empty() || !file.validated.is_empty());
    }
}

#[test]
fn an_empty_directory_is_believed_only_where_its_documents_were_seen() {
    let mut config = Config::new();
    let web = config.write("web.yaml", &vm("web"));
    let known = [web.clone()];
    assert_eq!(config.sources.read(known.iter()).incomplete, None);
    // The owner removed the last file.
    fs::remove_file(&web).unwrap();
    assert_eq!(config.sources.read(known.iter()).incomplete, None);
    // Another directory in its place, as when something is unmounted.
    config.write("web.yaml", &vm("web"));
    config.sources.read(known.iter());
    let vms = config.dir.path().join("vms");
    fs::rename(&vms, config.dir.path().join("away")).unwrap();
    fs::create_dir(&vms).unwrap();
    let reading = config.sources.read(known.iter());
    assert!(reading.incomplete.unwrap().contains("not mounted"));
    // A daemon that has never seen anything in it can't tell either.
    let mut fresh = Sources::new(std::slice::from_ref(&vms), Path::new("/home/owner"));
    assert!(fresh.read(known.iter()).incomplete.is_some());
    assert_eq!(fresh.read([].iter()).incomplete, None);
    // Mounted again.
    fs::remove_dir(&vms).unwrap();
    fs::rename(config.dir.path().join("away"), &vms).unwrap();
    let reading = config.sources.read(known.iter());
    assert_eq!(
        (names(&reading), reading.incomplete),
        (vec!["web".to_owned()], None)
    );
}
