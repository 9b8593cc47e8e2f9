//! Things of somebody else that look like banger's. They must survive every run.
//!
//! The tap is `tap-pool-1` where it comes before banger is installed; after a
//! reboot the pool may be first, and the tap gets a number that the pool doesn't
//! come to.

use anyhow::{Context as _, Result};

use crate::{TestHost, User};

/// A uid that banger never gave out. (Not `pgrep -f`: it would find the shell that asks.)
const FOREIGN: &str = "01920000-0000-7000-8000-00000000d0c0";

/// Whether the tap is there, in shell.
const TAP: &str = "grep -qsx foreign /sys/class/net/tap-pool-*/ifalias";

/// All that can be told of them, in shell; it ends badly where one is gone.
const LOOK: &str = "look() { \
    tap=$(grep -lsx foreign /sys/class/net/tap-pool-*/ifalias) && \
    ip -d -o link show $(basename ${tap%/ifalias}) && \
    dmsetup table banger-x && dmsetup info -c --noheadings -o uuid,open,suspended banger-x && \
    losetup -l -n -O NAME,BACK-FILE,BACK-INO,RO,OFFSET,SIZELIMIT -j /srv/foreign/disk | grep . && \
    sha256sum /srv/foreign/disk && nft list table inet foreign && \
    pid=$(pgrep -ax firecracker | grep $foreign | cut -d ' ' -f 1) && [ \"$pid\" ] && \
    cut -d ' ' -f 1,22 /proc/$pid/stat; }; ";

/// Makes those that aren't there (any more), and remembers what they look like.
///
/// # Errors
/// One can't be made.
pub fn plant(host: &TestHost) -> Result<()> {
    root(
        host,
        &format!(
            "set -e; mkdir -p /srv/foreign; \
         if ! {TAP}; then tap=tap-pool-1; [ ! -e /etc/banger ] || tap=tap-pool-900; \
           ip tuntap add $tap mode tap; ip link set $tap alias foreign; fi; \
         dmsetup info banger-x >/dev/null 2>&1 || dmsetup create banger-x --table '0 8 zero'; \
         [ -e /srv/foreign/disk ] || truncate -s 1M /srv/foreign/disk; \
         losetup -j /srv/foreign/disk | grep -q . || losetup -f /srv/foreign/disk; \
         nft list table inet foreign >/dev/null 2>&1 || nft 'add table inet foreign; \
           add chain inet foreign kept; add rule inet foreign kept ip saddr 192.0.2.1 accept'; \
         [ -e /srv/foreign/firecracker ] || cp \"$(command -v perl)\" /srv/foreign/firecracker; \
         pgrep -ax firecracker | grep -q {FOREIGN} || {{ \
           setsid /srv/foreign/firecracker -e 'sleep 60 while 1' -- --id {FOREIGN} >/dev/null 2>&1 </dev/null & }}; \
         foreign={FOREIGN}; {LOOK} for _ in 1 2 3 4 5; do look >/run/decoys && exit; sleep 1; done; exit 1"
        ),
    )
}

/// All of them are still there, as they were.
///
/// # Errors
/// One isn't.
pub fn untouched(host: &TestHost) -> Result<()> {
    let line = format!("foreign={FOREIGN}; {LOOK} look | diff /run/decoys -");
    root(host, &line).context("something that isn't banger's is gone, or another")
}

/// Whether a line of the inventory tells of one.
pub(crate) fn is_one(line: &str) -> bool {
    line.contains(FOREIGN) || line.contains("/srv/foreign") || line == "dm banger-x"
}

fn root(host: &TestHost, line: &str) -> Result<()> {
    host.exec(User::Root, line)?.ok()?;
    Ok(())
}
