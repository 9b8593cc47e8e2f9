//! A VMM in hostile hands: what its account reaches from its jail and beside it,
//! and where root goes once that jail is nothing but traps. The attacks are
//! `tests/inside/src/bin/hostile`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{decoys, lab::Lab};

const SOON: Duration = Duration::from_secs(60);

/// Left by any program of the VMM's that somebody else is led to run.
const MARK: &str = "/dev/shm/banger-hostile";

/// Beside the decoys of every lab, what the links in the jail lead to.
const DECOYS: &str = "/srv/foreign";
const PLANT: &str = "\
    cd /srv/foreign && rm -rf secret tree && mkdir -p tree/below && \
    (umask 077; echo secret > secret) && echo kept > tree/kept && echo kept > tree/below/kept";

/// How those look, and what else links lead to: a change of content, owner, mode,
/// links or times shows.
const LOOK: &str = "\
    cd /srv/foreign && set -- secret tree tree/kept tree/below tree/below/kept \
      /etc/shadow /usr/bin /usr/bin/dash /usr/bin/mv /run/banger/helper.sock \
      /run/banger/bangerd.sock && \
    stat -c '%n %F %i %a %u:%g %h %s %y %z' \"$@\" && \
    sha256sum secret tree/kept tree/below/kept /etc/shadow && ls -A tree tree/below /usr/bin";

pub(super) fn hostile(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let (web, worker) = (Vmm::of(lab, "web")?, Vmm::of(lab, "worker")?);
    reaches_nothing(lab, &web, &worker)?;
    writes_what_anybody_may(lab, &web)?;

    lab.guest("web", "echo kept > /var/marker && sync")?;
    lab.root(&format!("rm -f {MARK}; {PLANT}"))?;
    let before = held(lab)?;
    let others = Others::now(lab)?;

    // The daemon has the helper kill it: its guest can't be asked any more.
    web.wreck(lab)?;
    lab.owner("banger vm restart web")?;
    lab.ready("web")?;
    others.are_unharmed(lab, &web)?;
    let again = started_again(lab, &web, &before)?;
    // Nothing of the wreck is in the new jail.
    lab.root(&again.reach(&worker))?;

    // Daemon and helper find a wreck that runs, and the next ones what is left of it.
    again.wreck(lab)?;
    lab.root("sync && banger system restart")?;
    lab.ready("worker")?;
    let others = Others {
        helper: helper(lab)?,
        ..others
    };
    others.are_unharmed(lab, &again)?;
    power_cut(lab, &others)?;
    let others = Others::now(lab)?;
    others.are_unharmed(lab, &again)?;
    let again = started_again(lab, &again, &before)?;

    // It ends by itself, and then goes for good.
    again.wreck(lab)?;
    end_is_recorded(lab, &again)?;
    lab.delete("web")?;
    others.are_unharmed(lab, &again)?;
    let after = held(lab)?;
    let mut missing = before;
    for line in &after {
        let known = missing.iter().position(|it| it == line);
        missing.remove(known.with_context(|| format!("new after the deletion: {line}"))?);
    }
    let tap = format!("link {}", again.tap);
    let of_web =
        |line: &String| line.contains(&again.uid) || *line == tap || *line == again.base_file;
    ensure!(missing.iter().all(of_web), "gone with it: {missing:?}");
    ensure!(
        !after.iter().any(|line| line.contains(&again.uid)),
        "left after the deletion: {after:?}"
    );
    lab.root(&format!("cd {DECOYS} && rm -r secret tree"))?;
    Ok(())
}

/// Another VMM of the same VM, with the same disk and everything as it was `before`.
fn started_again(lab: &Lab, web: &Vmm, before: &[String]) -> Result<Vmm> {
    let after = held(lab)?;
    ensure!(after == before, "before: {before:?}\nafter: {after:?}");
    let again = Vmm::of(lab, "web")?;
    ensure!(
        (again.pid, again.boot.as_str()) != (web.pid, web.boot.as_str()),
        "it was not started again"
    );
    let marker = lab.guest("web", "cat /var/marker")?;
    ensure!(marker.trim() == "kept", "the root disk is another one");
    Ok(again)
}

/// The wreck lies on the disk while the host goes down under it, and is there at
/// the next boot.
fn power_cut(lab: &mut Lab, others: &Others) -> Result<()> {
    lab.host.reset()?;
    decoys::plant(&lab.host)?;
    lab.ready("web")?;
    lab.ready("worker")?;
    // Sockets are new ones.
    let on_disk = |looks: &str| -> Vec<String> {
        let stays = |line: &&str| !line.starts_with("/run/");
        looks.lines().filter(stays).map(str::to_owned).collect()
    };
    let (before, now) = (on_disk(&others.looks), on_disk(&lab.root(LOOK)?));
    ensure!(now == before, "before:\n{before:#?}\nafter:\n{now:#?}");
    Ok(())
}

/// What no wreck may change.
struct Others {
    looks: String,
    helper: String,
    worker: u32,
}

impl Others {
    fn now(lab: &Lab) -> Result<Self> {
        Ok(Self {
            looks: lab.root(LOOK)?,
            helper: helper(lab)?,
            worker: lab.pid("worker")?,
        })
    }

    /// All is as it was, though the jail of `web` was what it was.
    fn are_unharmed(&self, lab: &Lab, web: &Vmm) -> Result<()> {
        let (looks, now) = (&self.looks, lab.root(LOOK)?);
        ensure!(now == *looks, "before:\n{looks}\nafter:\n{now}");
        lab.root(&format!("! cat {MARK} 2>/dev/null"))
            .context("somebody ran a program of the VMM's")?;
        decoys::untouched(&lab.host)?;
        let (pid, before) = (helper(lab)?, &self.helper);
        ensure!(
            pid == *before,
            "the helper crashed: pid {before}, then {pid}"
        );
        // The directories went at the first try.
        lab.root(&format!(
            "! journalctl -u banger-helper VM={} STAGE=unlinkat -o cat | grep .",
            web.uid
        ))?;
        ensure!(lab.pid("worker")? == self.worker, "the other VM suffered");
        Ok(())
    }
}

fn helper(lab: &Lab) -> Result<String> {
    lab.root("systemctl show -P MainPID banger-helper")
}

/// The inventory, in which a VMM is the same after a restart.
fn held(lab: &Lab) -> Result<Vec<String>> {
    let lines = lab.inventory()?.0;
    let line = |line: String| match line.strip_prefix("process ") {
        // Behind its id come the times of its start.
        Some(argv) => argv.split(' ').take(3).collect::<Vec<_>>().join(" "),
        None => line,
    };
    Ok(lines.into_iter().map(line).collect())
}

/// A running VMM.
struct Vmm {
    uid: String,
    /// Unique within one boot of the host.
    pid: u32,
    boot: String,
    /// The account that it has.
    account: u32,
    tap: String,
    /// Its loop devices.
    loops: [String; 2],
    /// The inventory's line of its image.
    base_file: String,
}

impl Vmm {
    fn of(lab: &Lab, name: &str) -> Result<Self> {
        let handle = |handle: &str| lab.field(name, &format!(".status.handles.{handle}"));
        let pid = lab.pid(name)?;
        let account = lab.root(&format!("awk '/^Uid:/ {{print $2}}' /proc/{pid}/status"))?;
        let account: u32 = account.trim().parse()?;
        ensure!(account != 0, "{name} runs as root");
        let loops = [handle("baseLoop")?, handle("cowLoop")?];
        let file = lab.root(&format!(
            "losetup --noheadings --output BACK-FILE {} | sed 's,^/var/lib/banger/,/,; s,^,loop ,'",
            loops[0]
        ))?;
        Ok(Self {
            uid: lab.field(name, ".metadata.uid")?,
            pid,
            boot: lab.root("cat /proc/sys/kernel/random/boot_id")?,
            account,
            tap: handle("tap")?,
            loops,
            base_file: file.trim_end().to_owned(),
        })
    }

    /// The attempts as its account.
    fn reach(&self, other: &Self) -> String {
        become_account(self.account, &self.attempts(other))
    }

    /// The attempts, as whoever runs them.
    fn attempts(&self, other: &Self) -> String {
        format!(
            "/payload/hostile reach --pid {} --tap {} --victim {} --victim-pid {} --victim-tap {} \
             --victim-loop {} --victim-loop {}",
            self.pid, self.tap, other.uid, other.pid, other.tap, other.loops[0], other.loops[1]
        )
    }

    /// Replaces all that it may write, while it runs.
    fn wreck(&self, lab: &Lab) -> Result<()> {
        let wreck = format!(
            "/payload/hostile wreck --pid {} --decoys {DECOYS}",
            self.pid
        );
        lab.root(&become_account(self.account, &wreck))?;
        // As it was meant: the place that its sockets were mounted at is a link now.
        let link = lab.root(&format!("readlink /proc/{}/root/s", self.pid))?;
        ensure!(link.trim() == "/usr/bin", "the wreck isn't one: {link}");
        Ok(())
    }
}

/// Beside its jail and within, with the same attempts as root.
fn reaches_nothing(lab: &Lab, web: &Vmm, worker: &Vmm) -> Result<()> {
    ensure!(web.account != worker.account, "both VMMs have one account");
    // Where Yama keeps even one's own processes from oneself, nothing could be told.
    // This host is used for nothing else after it.
    let scope = "/proc/sys/kernel/yama/ptrace_scope";
    lab.root(&format!("[ ! -e {scope} ] || echo 0 > {scope}"))?;
    let tried = [
        web.attempts(worker),
        web.reach(worker),
        format!("/payload/hostile within --pid {}", web.pid),
    ];
    for line in tried {
        println!("{}", lab.root(&line)?.trim_end());
    }
    ensure!(
        lab.pid("worker")? == worker.pid && lab.pid("web")? == web.pid,
        "the attempts themselves did harm"
    );
    Ok(())
}

/// On the host's file systems it may write nothing that an account without
/// anything may not.
fn writes_what_anybody_may(lab: &Lab, web: &Vmm) -> Result<()> {
    // One of the range, whose slot no VM has.
    const UNUSED: u32 = 900;
    let find =
        "sh -c 'cd / && find / /run /dev /dev/shm -xdev ! -type l -writable 2>/dev/null | sort -u'";
    let its = lab.root(&become_account(web.account, find))?;
    let anybodys = lab.root(&become_account(web.account + UNUSED, find))?;
    ensure!(
        its.lines().any(|line| line == "/dev/null"),
        "nothing can be told: {its}"
    );
    ensure!(
        its == anybodys,
        "anybody may write {anybodys}\na VMM's account {its}"
    );
    Ok(())
}

/// It ends by itself while the daemon stands still. How, is written down by the
/// unit, which runs a program of root's for that, and nothing of the VMM's.
fn end_is_recorded(lab: &Lab, web: &Vmm) -> Result<()> {
    let unit = format!("banger-vm-{}.service", web.uid);
    let record = format!("/var/lib/banger-helper/jail/firecracker/{}/exit", web.uid);
    lab.root("systemctl kill --kill-whom=main -s STOP bangerd")?;
    let ended = (|| {
        lab.root(&format!("kill -KILL {}", web.pid))?;
        lab.until(
            "the unit has ended",
            &format!("systemctl is-failed --quiet {unit}"),
            SOON,
        )?;
        lab.root(&format!(
            "cat {record}; [ \"$(stat -c '%u %F' {record})\" = '0 regular file' ] && \
             [ \"$(cat {record})\" = 'signal killed KILL' ]"
        ))
        .context("its end isn't recorded")?;
        lab.root(&format!("! cat {MARK} 2>/dev/null"))
            .context("the unit ran a program of the VMM's")
    })();
    lab.root("systemctl kill --kill-whom=main -s CONT bangerd")?;
    ended.map(drop)
}

/// A line of root's that has this account, and nothing else.
fn become_account(account: u32, command: &str) -> String {
    format!(
        "setpriv --reuid {account} --regid {account} --clear-groups --inh-caps=-all \
         --bounding-set=-all --no-new-privs {command}"
    )
}
