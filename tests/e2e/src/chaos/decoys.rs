//! Things of somebody else that look like banger's. They must survive.
//! The tap's number is one that the pool doesn't come to: after a power cut the
//! pool may be there first.

use anyhow::{Context as _, Result};

use crate::Lab;

/// A uid that banger never gave out.
const FOREIGN: &str = "01920000-0000-7000-8000-00000000d0c0";

/// Makes those that aren't there (any more).
pub(super) fn plant(lab: &Lab) -> Result<()> {
    lab.root(&format!(
        "set -e; mkdir -p /srv/foreign; \
         ip link show tap-pool-900 >/dev/null 2>&1 || ip tuntap add tap-pool-900 mode tap; \
         dmsetup info banger-x >/dev/null 2>&1 || dmsetup create banger-x --table '0 8 zero'; \
         [ -e /srv/foreign/disk ] || truncate -s 1M /srv/foreign/disk; \
         losetup -j /srv/foreign/disk | grep -q . || losetup -f /srv/foreign/disk; \
         nft list table inet foreign >/dev/null 2>&1 || nft add table inet foreign; \
         [ -e /srv/foreign/firecracker ] || cp \"$(command -v perl)\" /srv/foreign/firecracker; \
         pgrep -f -- '--id {FOREIGN}' >/dev/null || \
           setsid /srv/foreign/firecracker -e 'sleep 60 while 1' -- --id {FOREIGN} >/dev/null 2>&1 </dev/null &"
    ))?;
    Ok(())
}

/// All of them are still there.
pub(super) fn untouched(lab: &Lab) -> Result<()> {
    lab.root(&format!(
        "set -e; ip link show tap-pool-900 >/dev/null; dmsetup info banger-x >/dev/null; \
         losetup -j /srv/foreign/disk | grep -q .; nft list table inet foreign >/dev/null; \
         pgrep -f -- '--id {FOREIGN}' >/dev/null"
    ))
    .context("something that isn't banger's is gone")?;
    Ok(())
}

/// Whether a line of the inventory tells of one.
pub(super) fn is_one(line: &str) -> bool {
    line.contains(FOREIGN)
        || line.contains("/srv/foreign")
        || line == "dm banger-x"
        || line == "link tap-pool-900"
}
