//! What a VMM's unit runs before the jailer.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;

use banger_helper::op::vmm::entrance::share;
use rustix::io::Errno;

use crate::bench::skipped;

fn places(at: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (sockets, root) = (at.join("sockets"), at.join("root"));
    fs::create_dir(&sockets).unwrap();
    fs::create_dir_all(root.join("s")).unwrap();
    fs::write(sockets.join("metrics"), "shared").unwrap();
    (sockets, root)
}

/// Mounts are a thread's that has unshared them.
fn in_a_thread(test: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(test).join().unwrap());
}

#[test]
fn sockets_are_in_the_jail_for_whoever_enters_it_alone() {
    let name = "sockets_are_in_the_jail_for_whoever_enters_it_alone";
    if !rustix::process::geteuid().is_root() {
        return skipped(name, "needs root");
    }
    let at = tempfile::tempdir().unwrap();
    let (sockets, root) = places(at.path());
    in_a_thread(|| {
        share(&sockets, &root).unwrap();
        assert_eq!(fs::read(root.join("s/metrics")).unwrap(), b"shared");
        fs::write(root.join("s/fc.sock"), "").unwrap();
        assert!(sockets.join("fc.sock").exists());
    });
    // Nobody else sees the mount, so that nobody removes through it.
    assert!(fs::read_dir(root.join("s")).unwrap().next().is_none());
}

#[test]
fn no_link_decides_what_is_mounted_where() {
    let name = "no_link_decides_what_is_mounted_where";
    if !rustix::process::geteuid().is_root() {
        return skipped(name, "needs root");
    }
    let at = tempfile::tempdir().unwrap();
    let (sockets, root) = places(at.path());
    let decoy = at.path().join("decoy");
    fs::create_dir(&decoy).unwrap();
    symlink(&sockets, at.path().join("sockets-link")).unwrap();
    symlink(&root, at.path().join("root-link")).unwrap();
    let linked = at.path().join("linked");
    fs::create_dir(&linked).unwrap();
    symlink(&decoy, linked.join("s")).unwrap();
    symlink(".", at.path().join("here")).unwrap();
    let refused = |sockets: &Path, root: &Path, why: Errno| {
        in_a_thread(|| {
            let error = share(sockets, root).unwrap_err();
            let errno = error.root_cause().downcast_ref::<Errno>();
            assert_eq!(errno, Some(&why), "{error:#}");
            assert!(fs::read_dir(&decoy).unwrap().next().is_none());
        });
    };
    refused(&sockets, &linked, Errno::NOTDIR);
    refused(&sockets, &at.path().join("root-link"), Errno::NOTDIR);
    refused(&at.path().join("sockets-link"), &root, Errno::NOTDIR);
    refused(&at.path().join("here/sockets"), &root, Errno::LOOP);
}
