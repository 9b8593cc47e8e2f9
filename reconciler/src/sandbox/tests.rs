//! Rules are a thread's, and for good: each test confines one of its own, as the
//! daemon confines the one that its others come from.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};
use tempfile::TempDir;

use super::{Landlock, Rules};

/// Runs it confined, with `state` and `own` below the directory for writing and
/// `run` for sockets. Skipped where the kernel confines nothing.
fn confined(name: &str, test: impl FnOnce(&Path, &Landlock) + Send) {
    let root = TempDir::new().unwrap();
    for directory in ["state/vms", "own", "run", "home/.ssh"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    fs::write(root.path().join("home/image"), "an image").unwrap();
    // A link that was planted: the file counts, not the name that leads to it.
    symlink("../home/.ssh/rc", root.path().join("state/link")).unwrap();
    let rules = Rules {
        writable: vec![
            root.path().join("state"),
            root.path().join("own"),
            root.path().join("not there"),
        ],
        sockets: vec![root.path().join("run")],
    };
    std::thread::scope(|scope| {
        let run = || match rules.enforce() {
            landlock @ (Landlock::Full { .. } | Landlock::Partial { .. }) => {
                test(root.path(), &landlock);
            }
            other => eprintln!("SKIPPED {name}: this kernel confines nothing: {other:?}"),
        };
        scope.spawn(run).join().unwrap();
    });
    // The test's own thread is as free as before.
    fs::write(root.path().join("home/.bashrc"), "").unwrap();
}

/// Root, whom modes don't stop, is stopped too: it isn't they that do it.
fn refused<T>(what: &str, done: io::Result<T>) {
    match done {
        Ok(_) => panic!("one can {what}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}"),
    }
}

#[test]
fn nothing_is_written_but_what_is_the_daemons() {
    let name = "nothing_is_written_but_what_is_the_daemons";
    confined(name, |root, landlock| {
        let home = root.join("home");
        refused("write a key", fs::write(home.join(".ssh/rc"), "x"));
        let image = OpenOptions::new().append(true).open(home.join("image"));
        refused("change a file", image);
        refused("make a directory", fs::create_dir(home.join("new")));
        refused("remove a file", fs::remove_file(home.join("image")));
        refused("remove a directory", fs::remove_dir(home.join(".ssh")));
        refused("make a link", symlink("/", home.join("link")));
        refused("make one in the state", symlink("/", root.join("state/l")));
        let fifo = mkfifoat(CWD, root.join("state/fifo"), Mode::RWXU);
        refused("make a FIFO", fifo.map_err(io::Error::from));
        refused("write beside the state", fs::write(root.join("x"), "x"));
        refused(
            "write a temporary file",
            File::create_new(root.with_extension("x")),
        );
        let link = root.join("state/link");
        refused("write through a link", fs::write(&link, "x"));
        let kernel = OpenOptions::new().write(true).open("/proc/self/comm");
        refused("write to the kernel", kernel);
        if matches!(landlock, Landlock::Full { .. }) {
            // truncate(2) opens nothing: only Linux 6.2 asks Landlock for it.
            let path = home.join("image");
            let cut = nix::unistd::truncate(&path, 0).map_err(io::Error::from);
            refused("cut a file", cut);
        }
        assert_eq!(fs::read_to_string(home.join("image")).unwrap(), "an image");
        assert_eq!(fs::read_dir(&home).unwrap().count(), 2);
    });
}

#[test]
fn all_that_the_daemon_does_works() {
    confined("all_that_the_daemon_does_works", |root, _| {
        let (state, own) = (root.join("state"), root.join("own"));
        let disk = state.join("vms/web/root.cow");
        fs::create_dir_all(disk.parent().unwrap()).unwrap();
        fs::write(&disk, "disk").unwrap();
        fs::set_permissions(&disk, fs::Permissions::from_mode(0o600)).unwrap();
        // To the trash, back, and over to another directory of its own.
        fs::create_dir(state.join("trash")).unwrap();
        fs::rename(state.join("vms/web"), state.join("trash/web")).unwrap();
        fs::rename(state.join("trash/web"), own.join("web")).unwrap();
        fs::create_dir(state.join("other")).unwrap();
        let exchange = RenameFlags::EXCHANGE;
        renameat_with(CWD, own.join("web"), CWD, state.join("other"), exchange).unwrap();
        assert_eq!(fs::read(state.join("other/root.cow")).unwrap(), b"disk");
        let disk = state.join("other/root.cow");
        let out = root.join("home/other");
        refused("move a disk out", fs::rename(&disk, &out));
        refused("link one out", fs::hard_link(&disk, &out));
        nix::unistd::truncate(&disk, 1).unwrap();
        fs::remove_dir_all(state.join("other")).unwrap();

        let socket = root.join("run/sock");
        let listener = UnixListener::bind(&socket).unwrap();
        assert!(socket.metadata().unwrap().file_type().is_socket());
        drop(listener);
        fs::remove_file(&socket).unwrap();
        refused("write beside a socket", fs::write(root.join("run/x"), "x"));

        assert!(fs::read_dir(root.join("home")).unwrap().count() > 0);
        assert!(fs::read("/proc/meminfo").is_ok() && fs::read_dir("/sys").is_ok());
        OpenOptions::new().write(true).open("/dev/null").unwrap();
    });
}

#[test]
fn programs_are_the_systems_and_no_freer() {
    confined("programs_are_the_systems_and_no_freer", |root, landlock| {
        let own = root.join("state/program");
        fs::copy("/bin/true", &own).unwrap();
        refused("run a program of its own", Command::new(&own).status());
        let shell = |line: &str| {
            let mut command = Command::new("/bin/sh");
            let command = command.args(["-c", line]).current_dir(root);
            command.stderr(Stdio::null()).status().unwrap().success()
        };
        assert!(shell(
            "echo x > state/x && mv state/x own/ && cat home/image > /dev/null"
        ));
        assert!(!shell("echo x > home/x"));
        assert!(!shell("exec state/program"));
        if matches!(landlock, Landlock::Full { .. }) {
            // The process that all of this is a thread of is outside.
            assert!(!shell("kill -0 $PPID"), "one can signal others");
            assert!(shell("sleep 60 & kill $!"), "one can't signal one's own");
        }
    });
}

#[test]
fn a_work_disk_and_a_key_are_made() {
    confined("a_work_disk_and_a_key_are_made", |root, _| {
        let runs = |program: &str, arguments: &[&str]| match Command::new(program)
            .args(arguments)
            .current_dir(root)
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .stdin(Stdio::null())
            .output()
        {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{program}: {said}");
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("SKIPPED a_work_disk_and_a_key_are_made: there is no {program}");
            }
            Err(error) => panic!("{program}: {error}"),
        };
        let disk = File::create(root.join("state/work.new")).unwrap();
        disk.set_len(64 << 20).unwrap();
        runs("mkfs.ext4", &["-q", "-F", "state/work.new"]);
        runs(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-f", "own/key"],
        );
    });
}
