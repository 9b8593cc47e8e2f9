//! The database is damaged in every way that a disk knows: the daemon says so
//! and how to mend it, and destroys nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::lab::Lab;

const DATABASE: &str = "/var/lib/banger/banger.db";
const COPY: &str = "/var/lib/banger/copy.db";

pub(super) fn damaged(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let pid = lab.pid("web")?;
    lab.owner(&format!("rm -f {COPY}; banger db backup {COPY}"))?;
    let before = lab.inventory()?;
    let damages = [
        ("cut short", format!("truncate -s 6000 {DATABASE}")),
        ("emptied", format!("truncate -s 0 {DATABASE}")),
        (
            "overwritten",
            format!("dd if=/dev/urandom of={DATABASE} bs=4096 seek=1 count=3 conv=notrunc"),
        ),
        (
            "no database",
            format!("echo 'not a database at all, but long enough to be read' > {DATABASE}"),
        ),
    ];
    for (what, damage) in damages {
        // Without its log, which would mend what was damaged.
        lab.root(&format!(
            "systemctl stop bangerd.socket bangerd && rm -f {DATABASE}-wal {DATABASE}-shm"
        ))?;
        lab.owner(&damage)?;
        let said = refused(lab, "banger db restore");
        let now = lab.inventory()?;
        ensure!(
            now == before && runs(lab, pid)?,
            "the database is {what}: before {before:?}, now {now:?}"
        );
        // The other scenarios want a daemon, whatever came out here.
        restore(lab).with_context(|| format!("the database was {what}"))?;
        said.with_context(|| format!("the database is {what}"))?;
        ensure!(
            lab.pid("web")? == pid,
            "the database was {what}: another Firecracker"
        );
    }
    lab.owner(&format!("rm {DATABASE}.replaced {COPY}"))?;
    Ok(())
}

/// A file that can't be written.
pub(super) fn unwritable(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let pid = lab.pid("web")?;
    lab.root("systemctl stop bangerd.socket bangerd")?;
    lab.owner(&format!("chmod 0400 {DATABASE}"))?;
    let said = refused(lab, DATABASE);
    // systemd tries again meanwhile: stopped, it can't come between.
    lab.root("systemctl stop bangerd; systemctl reset-failed bangerd || true")?;
    lab.owner(&format!("chmod 0600 {DATABASE}"))?;
    lab.root("systemctl start bangerd.socket bangerd")?;
    said?;
    ensure!(runs(lab, pid)?, "the VM is gone");
    lab.ready("web")?;
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");
    Ok(())
}

/// The daemon doesn't start, and its log has these words.
fn refused(lab: &Lab, words: &str) -> Result<()> {
    let started = lab.host.exec(
        crate::User::Root,
        "cursor=$(journalctl -n 0 --show-cursor | sed -n 's/^-- cursor: //p'); \
         if systemctl start bangerd; then exit 9; fi; \
         journalctl -u bangerd -o cat --after-cursor \"$cursor\"",
    )?;
    ensure!(started.status != 9, "the daemon started with it");
    ensure!(
        started.stdout.contains(words),
        "the log doesn't say `{words}`:\n{}",
        started.stdout
    );
    Ok(())
}

fn runs(lab: &Lab, pid: u32) -> Result<bool> {
    let alive = lab
        .host
        .exec(crate::User::Root, &format!("kill -0 {pid}"))?;
    Ok(alive.status == 0)
}

fn restore(lab: &Lab) -> Result<()> {
    // systemd tries again meanwhile: stopped, it can't come between.
    lab.root("systemctl stop bangerd.socket bangerd; systemctl reset-failed bangerd || true")?;
    lab.owner(&format!("banger db restore --yes {COPY}"))?;
    lab.root("systemctl start bangerd.socket bangerd")?;
    lab.until(
        "the daemon knows the VM",
        "su owner -c 'banger get vm web' >/dev/null 2>&1",
        Duration::from_secs(60),
    )?;
    lab.ready("web")
}
