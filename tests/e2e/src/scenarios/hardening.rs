//! What the two services can't do: the score that systemd gives their units,
//! and what the score can't say, tried from inside each sandbox.

use anyhow::{Context as _, Result, bail, ensure};

use crate::{User, lab::Lab};

/// Unit, and the exposure that it may have at most, in tenths. A ratchet: it
/// only goes down.
const EXPOSURE: [(&str, u32); 2] = [("bangerd", 17), ("banger-helper", 33)];

/// What the owner may do, and nobody in bangerd's sandbox. Each line leaves
/// nothing behind where it succeeds.
const DAEMON: &[(&str, &str)] = &[
    ("write the home", "touch ~owner/probe && rm ~owner/probe"),
    ("make a namespace", "unshare -U true"),
    (
        "lend its rights to others",
        "cp /bin/true /tmp/probe && chmod u+s /tmp/probe && rm /tmp/probe",
    ),
    ("change its personality", "setarch -R true"),
];

/// What the owner may not do either: the daemon has that account, and no more.
const DAEMON_NOR_OWNER: &[(&str, &str)] = &[
    (
        "write the system",
        "touch /usr/lib/probe && { rm /usr/lib/probe; true; } || { touch /etc/probe && rm /etc/probe; }",
    ),
    ("read the helper's state", "ls /var/lib/banger-helper/jail"),
    ("open KVM", ": < /dev/kvm"),
    ("open a disk", "head -c 1 /dev/vda"),
    (
        "make a device",
        "mknod /tmp/probe b 254 0 && { rm /tmp/probe; true; }",
    ),
    (
        "mount",
        "mount -t tmpfs none /mnt && { umount /mnt; true; }",
    ),
    ("become root", "sudo -n true || su -c true root </dev/null"),
    ("read root's environment", "cat /proc/1/environ"),
    (
        "make an interface",
        "ip link add probe type dummy && { ip link delete probe; true; }",
    ),
    ("read the firewall", "nft list ruleset | grep ."),
    ("set the clock", "date -s \"$(date)\""),
    (
        "change the kernel's settings",
        "set=$(cat /proc/sys/kernel/sysrq) && echo $set > /proc/sys/kernel/sysrq",
    ),
];

/// What nobody may do in the helper's sandbox, though it is root's.
const HELPER: &[(&str, &str)] = &[
    (
        "write the system",
        "touch /usr/lib/probe && { rm /usr/lib/probe; true; }",
    ),
    (
        "write what systemd reads",
        "touch /etc/systemd/system/probe.service && { rm /etc/systemd/system/probe.service; true; }",
    ),
    ("change passwords", ": >> /etc/shadow"),
    ("read a home", "ls ~owner/.config"),
    ("open a disk", "head -c 1 /dev/vda"),
    ("open the memory", "head -c 1 /dev/mem"),
    ("speak to a network", "exec 3<>/dev/tcp/198.51.100.2/80"),
    ("make a namespace", "unshare -n true"),
    ("set the clock", "date -s \"$(date)\""),
    ("name the host", "hostname \"$(hostname)\""),
    // A module that nothing needs; loaded already, it would say nothing.
    (
        "load a module",
        "modprobe nlmon && { modprobe -r nlmon; true; }",
    ),
    (
        "write a control group",
        "mkdir /sys/fs/cgroup/probe && { rmdir /sys/fs/cgroup/probe; true; }",
    ),
    ("read the kernel's log", "dmesg | grep ."),
    (
        "become another user",
        // Refused, it ends with 127, as if it weren't there.
        "command -v setpriv && { setpriv --reuid 1001 --clear-groups true || exit 1; }",
    ),
];

/// Neither unit is more exposed than it may be.
pub(super) fn scores(lab: &Lab) -> Result<()> {
    for (unit, most) in EXPOSURE {
        lab.root(&format!(
            "systemd-analyze security --no-pager --threshold {most} {unit}.service"
        ))
        .with_context(|| format!("{unit} is more exposed than {most} tenths"))?;
        let line = lab.root(&format!(
            "systemd-analyze security --no-pager {unit}.service | tail -n 1"
        ))?;
        println!("{}", line.trim());
    }
    Ok(())
}

pub(super) fn sandboxes(lab: &mut Lab) -> Result<()> {
    scores(lab)?;
    forbidden(lab, "bangerd", User::Owner, DAEMON)?;
    forbidden(lab, "bangerd", User::Root, DAEMON_NOR_OWNER)?;
    forbidden(lab, "banger-helper", User::Root, HELPER)?;
    landlock(lab)
}

/// What bangerd may not write even without its unit, where the owner may.
/// The daemon's database is a link that somebody planted: into its own
/// directory, where it is followed, and to what sshd runs at each login.
fn landlock(lab: &Lab) -> Result<()> {
    let lsm = lab.root("cat /sys/kernel/security/lsm")?;
    ensure!(lsm.contains("landlock"), "this kernel has only {lsm}");
    // As far as Linux 6.1 goes; fully, once the host's kernel is a newer one.
    lab.root("journalctl -u bangerd LANDLOCK=partial LANDLOCK=full -o cat | grep -q 'confines'")?;
    lab.owner(
        "banger doctor -o json | \
         jq -e '.checks[] | select(.name == \"Landlock\") | .verdict == \"pass\"'",
    )?;
    let run = |link: &str| {
        format!(
            "rm -rf /tmp/probe && mkdir -p /tmp/probe/state /tmp/probe/config/vms \
             /tmp/probe/config/images ~/.ssh && touch ~/.ssh/probe && rm ~/.ssh/probe && \
             ln -s {link} /tmp/probe/state/banger.db && \
             timeout --preserve-status 5 /usr/lib/banger/bangerd --sim --state-dir /tmp/probe/state \
             --config-dir /tmp/probe/config --socket /tmp/probe/sock"
        )
    };
    let well = lab.ask(&run("/tmp/probe/state/other.db"))?;
    ensure!(
        well.status == 0,
        "bangerd doesn't run without its unit: {well:?}"
    );
    lab.owner("ls /tmp/probe/state/other.db")?;
    let kept = lab.ask(&run("~/.ssh/rc"))?;
    lab.owner("rm -rf /tmp/probe; ! ls ~/.ssh/rc 2>/dev/null && (rmdir ~/.ssh 2>/dev/null; true)")?;
    ensure!(
        kept.status == 1 && format!("{kept:?}").contains("banger.db"),
        "bangerd writes where the owner may and it may not: {kept:?}"
    );
    Ok(())
}

/// Runs each line without a sandbox as `able`, who must succeed, or its failure
/// would say nothing; and then in the unit's own, where it must fail, and not for
/// want of a program.
fn forbidden(lab: &Lab, unit: &str, able: User, actions: &[(&str, &str)]) -> Result<()> {
    let probe = format!("probe-{unit}.service");
    // Its own unit, with another program and without its sockets and directories' ends.
    lab.root(&format!(
        "systemctl cat {unit}.service | sed -E '/^(Type|ExecStart|Restart|Also|Requires|Wants|After)=/d' \
         | sed 's/^\\[Service\\]/[Service]\\nType=oneshot\\nEnvironment=PATH=\\/usr\\/sbin:\\/usr\\/bin:\\/sbin:\\/bin\\n\
         ExecStart=\\/bin\\/bash \\/run\\/probe.sh/' > /run/systemd/system/{probe}; systemctl daemon-reload"
    ))?;
    let result = (|| {
        ensure!(
            attempt(lab, &probe, able, "true")? == 0,
            "nothing runs in {unit}'s sandbox at all: the test says nothing"
        );
        for (what, line) in actions {
            match attempt(lab, &probe, able, line)? {
                0 => bail!("in {unit}'s sandbox one can {what}: {line}"),
                127 => bail!("the host lacks a program of: {line}"),
                _ => {}
            }
        }
        Ok(())
    })();
    lab.root(&format!(
        "rm -f /run/systemd/system/{probe} /run/probe.sh /run/probe.out; systemctl daemon-reload; \
         systemctl reset-failed {probe} 2>/dev/null || true"
    ))?;
    result
}

/// The exit status of a line in the probe's sandbox, after `able` ran it without
/// one. A start that systemd refuses keeps the status of the line before.
fn attempt(lab: &Lab, probe: &str, able: User, line: &str) -> Result<i32> {
    let said = lab.root(&format!(
        "cat > /run/probe.sh <<'EOF'\n{line}\nEOF\nchmod 0644 /run/probe.sh; \
         runuser -u {} -- bash /run/probe.sh >/run/probe.out 2>&1 </dev/null || {{ \
           echo 'without a sandbox it fails, too:'; cat /run/probe.out; exit; }}; \
         systemctl start {probe} 2>/dev/null; \
         systemctl show -P Result {probe}; systemctl show -P ExecMainStatus {probe}",
        able.name()
    ))?;
    let (result, status) = said.trim().split_once('\n').unwrap_or_default();
    ensure!(
        ["success", "exit-code", "signal"].contains(&result),
        "{probe} was not run for `{line}`: {said}"
    );
    status
        .parse()
        .with_context(|| format!("{probe} has no exit status for {line}: {said}"))
}
