//! The host's disk fills up: what is new waits, guests stand still, and with
//! room again all goes on where it was.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{User, lab::Lab, shell::quote};

const SOON: Duration = Duration::from_secs(60);
const STATE: &str = "/var/lib/banger";
/// Beside the state directory, on the same file system.
const FILL: &str = "/var/lib/banger-e2e-fill";
/// Bytes.
const UNWRITTEN: u64 = 48 << 20;
/// How often the kernel looks for what to write down, and how much of its memory it
/// leaves unwritten (the kernel's `Documentation/admin-guide/sysctl/vm.rst`).
const WRITEBACK: [&str; 3] = [
    "dirty_writeback_centisecs",
    "dirty_ratio",
    "dirty_background_ratio",
];
/// It looks never, and writes only what it is asked to.
const LAZY: [&str; 3] = ["0", "90", "80"];

pub(super) fn fills_up(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let pid = lab.pid("web")?;
    lab.guest(
        "web",
        "echo memory > /dev/shm/marker; echo disk > /var/marker",
    )?;
    let same = lab.root(&format!(
        "[ \"$(stat -c %d {STATE})\" = \"$(stat -c %d /var/lib)\" ] && echo same"
    ))?;
    ensure!(same.trim() == "same", "{STATE} is a file system of its own");
    lab.until("the ballast", &ballast(256), SOON)?;

    lazily(lab, |lab| full(lab, pid))?;

    lab.ready("web")?;
    lab.ready("late")?;
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");
    let markers = lab.guest("web", "cat /dev/shm/marker /var/marker")?;
    ensure!(
        markers == "memory\ndisk\n",
        "the guest lost something: {markers:?}"
    );
    // It stood still for a while, and was told the time.
    let host: i64 = lab.root("date +%s")?.trim().parse()?;
    let guest: i64 = lab.guest("web", "date +%s")?.trim().parse()?;
    ensure!(
        (host - guest).abs() < 30,
        "the guest's clock is at {guest}, the host's at {host}"
    );
    busy_wrote(lab)?;
    unharmed(lab)?;
    lab.until("the ballast is back", &ballast(256), SOON)?;
    let events = lab.owner("banger events vm/web")?;
    for reason in ["Pausing", "Resuming"] {
        ensure!(events.contains(reason), "no event {reason}:\n{events}");
    }
    lab.delete("late")
}

/// Somebody takes the whole disk at once, under a guest that goes on writing: before
/// anybody can have looked.
pub(super) fn full_at_once(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let pid = lab.pid("web")?;
    lab.until("the ballast", &ballast(256), SOON)?;
    lazily(lab, |lab| at_once(lab, pid))?;
    lab.ready("web")?;
    busy_wrote(lab)?;
    unharmed(lab)
}

/// Does this under a kernel that writes nothing down by itself. Whatever comes of it,
/// no other scenario is to find that, or a full disk.
fn lazily(lab: &Lab, work: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    let set = |values: &[&str]| -> Result<String> {
        let pairs = WRITEBACK.iter().zip(values);
        let lines = pairs.map(|(name, value)| format!("echo {value} > /proc/sys/vm/{name}; "));
        lab.root(&lines.collect::<String>())
    };
    let before = lab.root(&format!("cd /proc/sys/vm && cat {}", WRITEBACK.join(" ")))?;
    set(&LAZY)?;
    let result = work(lab);
    lab.root(&format!("rm -f {FILL}* {STATE}/fill"))?;
    set(&before.lines().collect::<Vec<_>>())?;
    result
}

/// All that the busy guest wrote, before and after, is there: read from the disk, not
/// from its memory. Only the last file may be a piece of one.
fn busy_wrote(lab: &Lab) -> Result<()> {
    lab.guest(
        "web",
        "pkill -f '[b]usy-writer'; cd /var/busy && sync && \
         echo 3 > /proc/sys/vm/drop_caches && [ $(ls | wc -l) -gt 2 ] && \
         [ $(find . -type f -size -1048576c | wc -l) -le 1 ] && \
         cat * | tr -d x | cmp - /dev/null",
    )?;
    Ok(())
}

fn at_once(lab: &Lab, pid: u32) -> Result<()> {
    busy(lab, "0")?;
    let uid = lab.field("web", ".metadata.uid")?;
    // More of it unwritten than the least that its root disk has ahead, and all of that
    // is written at once. To the last block, or to the last MiB that the map of so large
    // a file leaves; right after it the daemon may have given the ballast up.
    lab.root(&format!(
        "stat=/sys/fs/cgroup/banger.slice/banger-vm-{uid}.service/memory.stat; \
         for i in $(seq 300); do \
           dirty=$(sed -n 's/^file_dirty //p' $stat); [ $dirty -lt {UNWRITTEN} ] || break; \
           sleep 0.1; \
         done; \
         [ $dirty -ge {UNWRITTEN} ] || {{ echo only $dirty unwritten >&2; exit 1; }}; \
         free=$(df --output=avail -B 1 {STATE} | tail -n 1 | tr -dc 0-9); \
         fallocate -l $((free - (free % 4096))) {FILL}-all || \
         fallocate -l $((free - (1 << 20))) {FILL}-all || exit 1; sync; \
         dd if=/dev/zero of={FILL}-rest bs=4k count=256 status=none 2>/dev/null; true"
    ))?;
    // Its condition can't be told where nothing can be written, not even systemd's
    // state: Firecracker is asked.
    lab.root("sleep 10")?;
    lab.root(&format!("kill -0 {pid}"))?;
    ensure!(!answers(lab)?.contains("1 received"), "the guest runs on");
    all_valid(lab)
}

fn all_valid(lab: &Lab) -> Result<()> {
    let invalid = lab.root("sync; dmsetup status --target snapshot | grep Invalid || true")?;
    ensure!(invalid.is_empty(), "root disks were lost:\n{invalid}");
    Ok(())
}

fn unharmed(lab: &Lab) -> Result<()> {
    let errors = lab.guest(
        "web",
        "dmesg | grep -iE 'i/o error|ext4-fs error|remounting' || true",
    )?;
    ensure!(
        errors.is_empty(),
        "the guest saw errors of its disk:\n{errors}"
    );
    Ok(())
}

/// First so full that nothing new is made, then so full that guests stop.
fn full(lab: &Lab, pid: u32) -> Result<()> {
    leave(lab, 1, 1024)?;
    lab.write_vm("late.yaml", &Lab::document("late", ""))?;
    lab.until(
        "the new VM waits for room",
        &stands("late", "DiskPressure", "True"),
        SOON,
    )?;
    lab.until(
        "it says what helps",
        "su owner -c 'banger describe vm late' | grep -q 'banger trash empty'",
        SOON,
    )?;
    ensure!(
        lab.guest("web", "hostname")?.trim() == "web",
        "what ran runs no more"
    );

    busy(lab, "0.1")?;
    leave(lab, 2, 300)?;
    let paused = "su owner -c 'banger get vm web -o json' | jq -e '.status.phase == \"Paused\"' \
                  >/dev/null";
    lab.until("the guest is paused", paused, SOON)?;
    lab.until("its condition", &stands("web", "Ready", "False"), SOON)?;
    lab.until(
        "the ballast is given up",
        &format!("! [ -e {STATE}/ballast ]"),
        SOON,
    )?;
    lab.root(&format!("kill -0 {pid}"))?;
    ensure!(!answers(lab)?.contains("1 received"), "the guest runs on");
    let doctor = lab.host.exec(User::Owner, "banger doctor")?;
    ensure!(
        doctor.stdout.contains("vm/web (paused)"),
        "{}",
        doctor.stdout
    );

    // The daemon dies, and the next one knows whom it has to wake up.
    lab.root("systemctl kill --kill-whom=main -s KILL bangerd")?;
    lab.until("it is still paused", paused, SOON)?;
    // It had the time to make up its mind.
    lab.root("sleep 5")?;
    lab.until("it is paused all the same", paused, SOON)?;
    ensure!(!answers(lab)?.contains("1 received"), "the guest runs on");
    to_the_last_block(lab, pid)
}

/// Not a block left for the database: what can't be kept is refused, nothing is
/// given up, and a daemon that died is back as soon as there is room.
fn to_the_last_block(lab: &Lab, pid: u32) -> Result<()> {
    lab.root(&format!(
        "for unit in MiB KiB; do \
           free=$(df --output=avail -B $unit {STATE} | tail -n 1 | tr -dc 0-9); \
           [ \"$free\" -le 4 ] || fallocate -l $((free - 4))$unit {FILL}-$unit; \
         done; \
         su owner -c 'dd if=/dev/zero of={STATE}/fill bs=4k status=none' 2>/dev/null; \
         [ \"$(df --output=avail -B 1 {STATE} | tail -n 1 | tr -dc 0-9)\" -lt 4096 ]"
    ))?;
    // Had it anything of the guests' in its memory still, it would find no room now.
    all_valid(lab)?;
    let stopped = lab.ask("banger vm stop worker --wait=false")?;
    ensure!(
        stopped.status == 0 || stopped.stderr.contains("full"),
        "no word of the full disk: {stopped:?}"
    );
    // systemd itself may find no room for the next daemon's sandbox, and goes
    // on trying: it needs nobody's help once there is room again.
    lab.root("systemctl kill --kill-whom=main -s KILL bangerd")?;
    let kept = lab.owner(&format!(
        "sqlite3 -readonly {STATE}/banger.db 'PRAGMA integrity_check'"
    ))?;
    ensure!(kept.trim() == "ok", "the database: {kept:?}");
    lab.root(&format!(
        "sleep 10; rm -f {STATE}/fill {FILL}-MiB {FILL}-KiB"
    ))?;
    lab.until(
        "the daemon is back",
        "su owner -c 'timeout 10 banger get vms' >/dev/null 2>&1",
        SOON,
    )?;
    lab.root(&format!("kill -0 {pid}"))?;
    Ok(())
}

/// The guest writes and writes, past its own memory, to where it never wrote: all of
/// it is new to the snapshot. It asks for none of it to be on the disk.
fn busy(lab: &Lab, pause: &str) -> Result<()> {
    start(
        lab,
        "busy-writer",
        &format!(
            "mkdir /var/busy; tr '\\0' x < /dev/zero | head -c 1M > /dev/shm/piece; i=0; \
             while [ $i -lt 800 ]; do i=$((i + 1)); \
             dd if=/dev/shm/piece of=/var/busy/$i oflag=direct bs=1M; sleep {pause}; done"
        ),
    )?;
    lab.until(
        "the guest writes",
        "su owner -c 'banger vm ssh web -- test -s /var/busy/3'",
        SOON,
    )
}

/// Starts a script in the guest that goes on by itself.
fn start(lab: &Lab, name: &str, script: &str) -> Result<()> {
    lab.guest(
        "web",
        &format!(
            "echo {} > /dev/shm/{name} && \
             (setsid sh /dev/shm/{name} >/dev/null 2>&1 </dev/null &)",
            quote(script)
        ),
    )?;
    Ok(())
}

fn answers(lab: &Lab) -> Result<String> {
    let address = lab.field("web", ".status.runtime.guestIp")?;
    lab.root(&format!("ping -c 1 -W 3 {address} || true"))
}

/// Takes so much that only this many MiB are free.
fn leave(lab: &Lab, nth: u32, mib: u32) -> Result<()> {
    lab.root(&format!(
        "free=$(df --output=avail -BM {STATE} | tail -n 1 | tr -dc 0-9) && \
         [ \"$free\" -gt {mib} ] && fallocate -l $((free - {mib}))MiB {FILL}-{nth}"
    ))?;
    Ok(())
}

fn ballast(mib: u64) -> String {
    format!("[ \"$(stat -c %s {STATE}/ballast)\" = {} ]", mib << 20)
}

fn stands(vm: &str, kind: &str, status: &str) -> String {
    format!(
        "su owner -c 'banger get vm {vm} -o json' | jq -e '.status.conditions[] | \
         select(.type == \"{kind}\" and .status == \"{status}\")' >/dev/null"
    )
}
