#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

use super::*;

#[test]
fn links_are_removed_and_never_followed() {
    let at = tempfile::tempdir().unwrap();
    let outside = at.path().join("outside");
    fs::create_dir_all(outside.join("kept")).unwrap();
    let jail = at.path().join("jails/x/root/run");
    fs::create_dir_all(&jail).unwrap();
    symlink(&outside, jail.join("link")).unwrap();
    symlink("/", at.path().join("jails/x/slash")).unwrap();
    fs::write(jail.join("file"), "x").unwrap();
    assert!(remove(&at.path().join("jails"), "x").unwrap());
    assert!(outside.join("kept").is_dir());
    assert!(!at.path().join("jails/x").exists());
    assert!(!remove(&at.path().join("jails"), "x").unwrap());
    assert!(!remove(&at.path().join("nowhere"), "x").unwrap());
}

#[test]
fn a_link_in_the_place_of_the_tree_is_refused() {
    let at = tempfile::tempdir().unwrap();
    fs::create_dir_all(at.path().join("outside/kept")).unwrap();
    symlink(at.path().join("outside"), at.path().join("x")).unwrap();
    assert!(remove(at.path(), "x").is_err());
    assert!(at.path().join("outside/kept").is_dir());
}

#[test]
fn a_very_deep_tree_goes_too() {
    let at = tempfile::tempdir().unwrap();
    let mut deep = at.path().join("x");
    for _ in 0..300 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f"), "").unwrap();
    assert!(remove(at.path(), "x").unwrap());
    assert!(!at.path().join("x").exists());
}

/// Everything below a directory, with what a change of it would change.
fn look(at: &Path) -> Vec<String> {
    let stat = fs::symlink_metadata(at).unwrap();
    let mut seen = vec![format!(
        "{} {} {:o} {}:{} {} {:?} {:?}",
        at.display(),
        stat.ino(),
        stat.mode(),
        stat.uid(),
        stat.gid(),
        stat.nlink(),
        (stat.mtime(), stat.mtime_nsec()),
        (stat.ctime(), stat.ctime_nsec()),
    )];
    if stat.is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            seen.extend(look(&entry.unwrap().path()));
        }
    }
    seen.sort();
    seen
}

/// Something outside, which nothing may reach.
fn decoy(at: &Path) -> std::path::PathBuf {
    let outside = at.join("outside");
    fs::create_dir_all(outside.join("kept")).unwrap();
    fs::write(outside.join("kept/secret"), "secret").unwrap();
    outside
}

fn deep(directory: &Path, levels: usize) {
    let mut at = rustix::fs::open(directory, OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o755)).unwrap();
        at = rustix::fs::openat(&at, "d", OFlags::PATH, Mode::empty()).unwrap();
    }
    rustix::fs::symlinkat("/", &at, "slash").unwrap();
}

#[test]
fn a_tree_that_was_made_to_stay_goes() {
    let at = tempfile::tempdir().unwrap();
    let outside = decoy(at.path());
    let before = look(&outside);
    let tree = at.path().join("vms/x");
    fs::create_dir_all(&tree).unwrap();
    // Whatever order it is read in, what is deep comes before what is in its way.
    for n in 0..8 {
        fs::create_dir(tree.join(format!("deep-{n}"))).unwrap();
        deep(&tree.join(format!("deep-{n}")), 200);
        for n in (1..64).skip(n).step_by(8) {
            let trap = tree.join(format!(".banger-deep-{n}"));
            match n % 2 {
                0 => fs::write(trap, "").unwrap(),
                _ => fs::create_dir_all(trap.join("full")).unwrap(),
            }
        }
    }
    let fifo = tree.join("metrics");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("fc.sock")).unwrap();
    symlink(outside.join("kept"), tree.join("run")).unwrap();
    symlink(outside.join("kept/secret"), tree.join("v.sock")).unwrap();
    symlink("..", tree.join("up")).unwrap();
    fs::hard_link(&fifo, tree.join("second name")).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"-rf \n\xff");
    fs::write(tree.join(odd), "").unwrap();
    fs::write(tree.join("n".repeat(255)), "").unwrap();
    fs::create_dir_all(tree.join("closed/within")).unwrap();
    fs::set_permissions(tree.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().is_root() {
        // As a VMM would have made it, with what keeps others from removing in it.
        let sticky = tree.join("sticky");
        fs::create_dir(&sticky).unwrap();
        fs::write(sticky.join("file"), "").unwrap();
        for path in [&sticky, &sticky.join("file"), &tree] {
            std::os::unix::fs::chown(path, Some(50_001), Some(50_001)).unwrap();
        }
        fs::set_permissions(&sticky, PermissionsExt::from_mode(0o1700)).unwrap();
    } else {
        fs::set_permissions(tree.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    }
    assert!(remove(&at.path().join("vms"), "x").unwrap());
    assert!(!tree.exists());
    assert_eq!(look(&outside), before);
}

#[test]
fn a_tree_that_is_too_large_is_smaller_after_each_request() {
    let at = tempfile::tempdir().unwrap();
    let tree = at.path().join("x");
    fs::create_dir(&tree).unwrap();
    for n in 0..250 {
        fs::write(tree.join(n.to_string()), "").unwrap();
    }
    let mut left = vec![];
    loop {
        match remove_at_most(100, at.path(), "x") {
            Ok(removed) => break assert!(removed),
            Err(failure) => {
                assert!(
                    failure.message.contains("more than 100 entries"),
                    "{failure}"
                );
                assert_eq!(failure.retry, banger_protocol::Retry::Later);
                left.push(fs::read_dir(&tree).unwrap().count());
            }
        }
    }
    assert_eq!(left, [150, 50]);
    assert!(!tree.exists());
}

/// A directory and a link to another one trade places all the time.
#[test]
fn a_directory_that_becomes_a_link_meanwhile_leads_nowhere() {
    let at = tempfile::tempdir().unwrap();
    let outside = decoy(at.path());
    let before = look(&outside);
    let tree = at.path().join("x");
    for _ in 0..100 {
        fs::create_dir_all(tree.join("kept")).unwrap();
        for n in 0..20 {
            fs::write(tree.join(format!("kept/{n}")), "").unwrap();
        }
        symlink(outside.join("kept"), tree.join("link")).unwrap();
        std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                let (one, other) = (tree.join("kept"), tree.join("link"));
                let swap = rustix::fs::RenameFlags::EXCHANGE;
                // Until one of them is gone.
                while rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &one,
                    rustix::fs::CWD,
                    &other,
                    swap,
                )
                .is_ok()
                {}
            });
            // What is swapped under a removal may make it fail, and no more.
            while !matches!(remove(at.path(), "x"), Ok(false)) {}
            swapping.join().unwrap();
        });
        assert_eq!(look(&outside), before);
    }
}
