//! The disposable host itself, for real: each test boots one, so they are
//! ignored unless asked for (`cargo nextest run -p banger-e2e --run-ignored all`).
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    cell::Cell,
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::bail;
use banger_e2e::{Options, TestHost, User, scenario};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    fs::{FlockOperation, flock},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

fn pidfd_of(pid: i32) -> OwnedFd {
    pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap()
}

/// A pidfd becomes readable when its process ends.
fn assert_ends(process: &OwnedFd) {
    let limit = Timespec::try_from(Duration::from_secs(10)).unwrap();
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&limit)), Ok(1), "QEMU is left running");
}

#[test]
#[ignore = "boots a host twice"]
fn a_host_has_its_accounts_files_internet_and_survives_a_power_cut() {
    let here = tempfile::tempdir().unwrap();
    let payload = here.path().join("payload");
    fs::create_dir(&payload).unwrap();
    fs::write(payload.join("hello"), "from the payload\n").unwrap();
    let options = Options {
        payload: Some(payload),
        durable: true,
        ..Options::default()
    };
    let mut host = TestHost::up_with("selftest", options).unwrap();
    let said = |host: &TestHost, user, script: &str| host.exec(user, script).unwrap().ok().unwrap();

    assert_eq!(said(&host, User::Owner, "id -u"), "1000\n");
    assert_eq!(said(&host, User::Stranger, "id -u"), "1001\n");
    assert_eq!(said(&host, User::Root, "id -u"), "0\n");
    assert_eq!(host.exec(User::Owner, "exit 7").unwrap().status, 7);
    let up = "systemctl is-system-running --wait && systemctl --user is-system-running --wait";
    assert_eq!(said(&host, User::Owner, up), "running\nrunning\n");

    let hello = "cat /payload/hello";
    assert_eq!(said(&host, User::Owner, hello), "from the payload\n");
    let images = "cd /images && head -c 4 firecracker | tail -c 3 && ls debian-12.ext4";
    assert_eq!(said(&host, User::Owner, images), "ELFdebian-12.ext4\n");
    said(&host, User::Owner, "test -r /boot/vmlinuz-$(uname -r)");
    said(
        &host,
        User::Root,
        "test -c /dev/kvm && test -d /sys/module/dm_snapshot",
    );

    let internet = "curl -sS http://198.51.100.2/ http://198.51.100.2/cgi-bin/source";
    let answer = "the fake internet\n198.51.100.1\n";
    assert_eq!(said(&host, User::Owner, internet), answer);
    // A packet from a guest's address gets no answer unless masqueraded.
    said(&host, User::Root, "ip address add 172.30.0.1/16 dev lo");
    let unmasked = "curl -sS -m 3 --interface 172.30.0.1 http://198.51.100.2/";
    assert_ne!(host.exec(User::Root, unmasked).unwrap().status, 0);

    let file = here.path().join("file");
    fs::write(&file, "carried\n").unwrap();
    host.push(User::Owner, &file, "/home/owner/").unwrap();
    let refused = host.push(User::Stranger, &file, "/home/owner/x");
    assert!(refused.is_err(), "the stranger wrote in the owner's home");
    said(&host, User::Owner, "sync -f file");

    let before = pidfd_of(host.process_id().unwrap().unwrap());
    host.reset().unwrap();
    assert_ends(&before);
    let back = here.path().join("back");
    host.pull(User::Owner, "/home/owner/file", &back).unwrap();
    assert_eq!(fs::read_to_string(back).unwrap(), "carried\n");
    assert_eq!(host.crashed(), None);

    // What runs is asked to stop, and has the time for it.
    said(
        &host,
        User::Root,
        "systemd-run --quiet -p ExecStop='/bin/sh -c \"sleep 1; echo well > /root/ended\"' sleep 600",
    );
    let before = pidfd_of(host.process_id().unwrap().unwrap());
    host.reboot().unwrap();
    assert_ends(&before);
    assert_eq!(said(&host, User::Root, "cat /root/ended"), "well\n");
    assert_eq!(host.crashed(), None);

    let after = pidfd_of(host.process_id().unwrap().unwrap());
    drop(host);
    assert_ends(&after);
}

/// Runs itself once more as a child process that holds a host, and kills that
/// child in the one way that leaves it no chance to clean up.
#[test]
#[ignore = "boots a host"]
fn qemu_dies_with_a_test_process_that_is_killed() {
    const CHILD: &str = "BANGER_E2E_TEST_CHILD";
    if env::var_os(CHILD).is_some() {
        // From a thread that ends, as a test's own may.
        let host = std::thread::spawn(|| TestHost::up("selftest-killed", None).unwrap())
            .join()
            .unwrap();
        assert_eq!(host.exec(User::Owner, "true").unwrap().status, 0);
        println!("\nHOST {}", host.process_id().unwrap().unwrap());
        loop {
            std::thread::park();
        }
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "qemu_dies_with_a_test_process_that_is_killed"])
        .args(["--ignored", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("HOST ")?.parse().ok())
        .expect("the child's host came up");
    let qemu = pidfd_of(pid);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ends(&qemu);
    // Its disk is still there: nobody was left to remove it.
    let down = Command::new(env!("CARGO_BIN_EXE_host"))
        .args(["down", "--name", "selftest-killed"])
        .status();
    assert!(down.unwrap().success());
}

#[test]
#[ignore = "boots a host twice"]
fn only_a_scenario_whose_host_died_runs_again() {
    let attempts = Cell::new(0);
    let options = Options::default();
    let run = scenario("selftest-crash", &options, |host| {
        attempts.set(attempts.get() + 1);
        if attempts.get() == 1 {
            let crash = host.exec(User::Root, "echo c > /proc/sysrq-trigger");
            let told = crash.unwrap_err().to_string();
            assert!(told.contains("kernel died"), "{told}");
            bail!("the first host died");
        }
        assert_eq!(host.crashed(), None);
        bail!("a failure on a living host")
    });
    assert_eq!(run.unwrap_err().to_string(), "a failure on a living host");
    assert_eq!(attempts.get(), 2);
}

/// The program, as people call it.
fn host(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    command.args(arguments).output().unwrap()
}

/// What it prints; it must end well.
fn says(arguments: &[&str]) -> String {
    let output = host(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "boots a host three times"]
fn an_interrupt_during_up_takes_qemu_down_and_reset_boots_it() {
    const NAME: &str = "selftest-interrupted";
    let program = env!("CARGO_BIN_EXE_host");
    let mut up = Command::new(program)
        .args(["up", "--name", NAME])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(up.stderr.take().unwrap()).lines();
    let begun = said.any(|line| line.unwrap().contains("boot host"));
    assert!(begun, "`host up` did not get as far as QEMU");
    kill_process(Pid::from_child(&up), Signal::INT).unwrap();
    let rest: Vec<_> = said.map_while(Result::ok).collect();
    assert!(!up.wait().unwrap().success());
    assert!(rest.concat().contains("interrupted"), "{rest:?}");

    let refusal = host(&["exec", "--name", NAME, "true"]);
    assert!(!refusal.status.success());
    let refusal = String::from_utf8(refusal.stderr).unwrap();
    assert!(refusal.contains("not running"), "{refusal}");

    // It is booted after all, and the program does what its help says.
    says(&["reset", "--name", NAME]);
    let exit = |line: &[&str]| {
        let output = host(&[&["exec", "--name", NAME], line].concat());
        output.status.code()
    };
    assert_eq!(exit(&["--", "sh", "-c", "exit 7"]), Some(7));
    assert_eq!(exit(&["exit 8"]), Some(8));
    let asked = says(&["exec", "--name", NAME, "--root", "--", "id", "-un"]);
    assert_eq!(asked, "root\n");
    let user = says(&["exec", "--name", NAME, "--user", "stranger", "id -un"]);
    assert_eq!(user, "stranger\n");

    let here = tempfile::tempdir().unwrap();
    let (file, back) = (here.path().join("file"), here.path().join("back"));
    fs::write(&file, "carried\n").unwrap();
    let (file, back) = (file.to_str().unwrap(), back.to_str().unwrap());
    says(&["push", "--name", NAME, file, "/home/owner/"]);
    says(&["pull", "--name", NAME, "/home/owner/file", back]);
    assert_eq!(fs::read_to_string(back).unwrap(), "carried\n");

    let boot = [
        "exec",
        "--name",
        NAME,
        "cat /proc/sys/kernel/random/boot_id",
    ];
    let before = says(&boot);
    says(&["reset", "--name", NAME]);
    assert_ne!(says(&boot), before, "the host was not booted again");

    let down = || String::from_utf8(host(&["down", "--name", NAME]).stderr).unwrap();
    assert_eq!(down(), "");
    assert!(down().contains("there is no host"));
}

/// Packages are installed by root's mmdebstrap: it must not go on alone.
#[test]
#[ignore = "begins to fetch Debian packages"]
fn an_interrupt_during_build_ends_what_builds() {
    let cache = tempfile::tempdir().unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_host"))
        .arg("build")
        .env("BANGER_E2E_CACHE", cache.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(build.stderr.take().unwrap()).lines();
    let began = said.any(|line| line.unwrap().contains("install the host's Debian packages"));
    assert!(began, "`host build` installs no packages");
    // The line comes first, the program a moment later.
    while builders(cache.path()) == 0 {
        assert!(build.try_wait().unwrap().is_none(), "it built nothing");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&build), Signal::TERM).unwrap();
    let rest: Vec<_> = said.map_while(Result::ok).collect();
    assert!(!build.wait().unwrap().success());
    assert!(rest.concat().contains("interrupted"), "{rest:?}");
    assert_eq!(builders(cache.path()), 0, "a program goes on building");
    let lock = fs::File::open(cache.path().join("build.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
}

/// How many processes other than the program itself name a directory.
fn builders(directory: &Path) -> usize {
    let directory = directory.as_os_str().as_encoded_bytes();
    let names = |entry: &fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let found = line.windows(directory.len()).any(|part| part == directory);
        found && line.windows(10).any(|part| part == b"mmdebstrap")
    };
    let processes = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    processes.filter(names).count()
}
