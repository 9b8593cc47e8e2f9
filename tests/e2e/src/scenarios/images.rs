//! An image whose document is edited is imported anew; what it was before goes
//! once nothing lies over it any more, and not before.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::{Lab, QUICK};

pub(super) fn unneeded(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    let pid = lab.pid("web")?;
    let under_web = digest(lab, "vm web")?;
    // No guest boots from these: 8 MiB are imported in no time. They stay in
    // the home, so that nobody takes this lab over with its other `quick`.
    lab.owner(
        "cd ~ && for n in 1 2; do truncate -s 8M small$n.ext4 && \
         /usr/sbin/mkfs.ext4 -q -L small$n small$n.ext4; done",
    )?;

    let first = import(lab, "small1", &under_web)?;
    // The document's old digest is a running VM's still.
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(
        list.contains("0 unowned, 0 missing") && !list.contains("unneeded"),
        "what web lies over is called unneeded:\n{list}"
    );

    let second = import(lab, "small2", &first)?;
    let list = lab.ask("banger doctor --inventory")?.stdout;
    let named = |list: &str, digest: &str| {
        list.lines()
            .any(|line| line.starts_with("unneeded image ") && line.contains(digest))
    };
    ensure!(named(&list, &first), "{first} isn't unneeded:\n{list}");
    ensure!(
        list.contains(", 1 unneeded") && !named(&list, &under_web) && !named(&list, &second),
        "{under_web} and {second} are needed:\n{list}"
    );
    let gone = lab.owner("banger gc")?;
    ensure!(gone.contains(&first), "gc says nothing of {first}:\n{gone}");
    lab.owner(&format!(
        "cd /var/lib/banger/images && ! ls -d {first} 2>/dev/null && ls {under_web} {second}"
    ))?;
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(
        list.contains("0 unowned, 0 missing") && !list.contains("unneeded"),
        "after the collection:\n{list}"
    );
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");
    // What its guest hasn't read before comes from the image.
    lab.guest(
        "web",
        "echo 3 > /proc/sys/vm/drop_caches; ls -R /usr | wc -l",
    )?;
    Ok(())
}

/// The digest in an object's status, without its `sha256:`.
pub(super) fn digest(lab: &Lab, object: &str) -> Result<String> {
    let text = lab.owner(&format!(
        "banger get {object} -o json | jq -er '.status.imageDigest | ltrimstr(\"sha256:\")'"
    ))?;
    Ok(text.trim().to_owned())
}

/// Has the quick image's document name another disk of the owner's, and waits
/// until it is imported; its digest.
fn import(lab: &Lab, disk: &str, before: &str) -> Result<String> {
    lab.write(
        &format!(".config/banger/images/{QUICK}.yaml"),
        &format!(
            "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {{name: {QUICK}}}\n\
             spec:\n  rootfs:\n    disk: {{path: /home/owner/{disk}.ext4}}\n"
        ),
    )?;
    lab.until(
        "the other disk is imported",
        &format!(
            "su owner -c 'banger get image {QUICK} -o json' | jq -e '.status | \
             .phase == \"Ready\" and .imageDigest != \"sha256:{before}\"' >/dev/null"
        ),
        Duration::from_secs(120),
    )?;
    digest(lab, &format!("image {QUICK}"))
}
