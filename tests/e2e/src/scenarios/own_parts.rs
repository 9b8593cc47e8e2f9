//! Images of the owner's own parts: the kernel, the modules and the initrd that
//! were named are what boots, as they were when they were imported, whatever
//! becomes of the files. And the console of such a guest, whose log has a cap.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::images::digest;
use crate::lab::{Lab, QUICK};

const MAKE: &str = include_str!("own_parts/make.pl");
const SOON: Duration = Duration::from_secs(60);
/// A guest without an agent, until it says its first word.
const FIRST_WORD: Duration = Duration::from_secs(120);

/// `reconciler/src/act/serial_log.rs`: a longer log loses its head, and so much
/// of it stays.
const CAP: u64 = 4 << 20;
const KEPT: u64 = 2 << 20;
/// What the guest writes, each 64 bytes long: a serial line is slow.
const LINES: u64 = 512;

/// All names in the guest that come from the image's disk, read from it again.
const NAMES: &str = "echo 3 > /proc/sys/vm/drop_caches; ls -R /usr | md5sum";

pub(super) fn immutable(lab: &mut Lab) -> Result<()> {
    let lab = &*lab;
    let release = lab.owner("uname -r")?.trim().replace("-cloud-", "-owner-");
    import(lab)?;
    lab.write_vm("own.yaml", &Lab::document_over("own", "own", ""))?;
    lab.ready("own")?;
    boots_what_was_named(lab, &release)?;
    let digests = || -> Result<Vec<String>> {
        let objects = ["image own", "vm own", "image bare"];
        objects.iter().map(|it| digest(lab, it)).collect()
    };
    let (before, pid) = (digests()?, lab.pid("own")?);
    ensure!(before[0] == before[1], "own runs another image: {before:?}");
    let names = lab.guest("own", NAMES)?;

    // Written over where they are, as by `cp`, and then not there at all.
    lab.owner(
        "cd ~/own && find . -type f | while read -r file; do size=$(stat -c %s $file); \
           head -c 65536 /dev/urandom > $file; truncate -s $size $file; done",
    )?;
    ensure!(
        lab.guest("own", NAMES)? == names,
        "the guest's disk changed with the owner's file"
    );
    lab.owner("rm -r ~/own")?;
    // Nor does a daemon miss them that didn't import them itself.
    lab.root("systemctl restart bangerd")?;
    for object in ["image/own", "image/bare", "vm/own"] {
        lab.owner(&format!(
            "banger wait --for=condition=Ready {object} --timeout 60s"
        ))?;
    }
    let diff = lab.ask("banger diff")?;
    ensure!(
        diff.status == 0 && diff.stdout.is_empty(),
        "something is to be done now: {diff:?}"
    );
    ensure!(lab.pid("own")? == pid, "it is another Firecracker already");

    lab.owner("banger vm restart own")?;
    ensure!(lab.pid("own")? != pid, "it is still the same Firecracker");
    boots_what_was_named(lab, &release)?;
    ensure!(
        lab.guest("own", NAMES)? == names,
        "the disk is another one after the restart"
    );
    console(lab)?;
    own_initrd(lab, &release)?;
    ensure!(digests()? == before, "before: {before:?}");

    lab.owner("banger delete vm/own vm/bare --purge --yes && banger delete image/own image/bare")?;
    lab.owner(&format!(
        "cd /var/lib/banger/images && ! ls -d {} {} 2>/dev/null | grep .",
        before[0], before[2]
    ))?;
    Ok(())
}

/// Makes the parts, and has two images of them imported: `own` with a bzImage and
/// its modules, `bare` with an ELF and an initrd.
fn import(lab: &Lab) -> Result<()> {
    lab.declare_image(QUICK)?;
    lab.image_ready(QUICK)?;
    let unpacked = digest(lab, &format!("image {QUICK}"))?;
    lab.owner("mkdir ~/own")?;
    lab.write("own/make.pl", MAKE)?;
    lab.owner(&format!(
        "cd ~/own && perl make.pl ~/own /var/lib/banger/images/{unpacked}/vmlinux && \
         cp --sparse=always --no-preserve=mode /images/{QUICK}.ext4 disk.ext4 && \
         truncate -s 8M small.ext4 && /usr/sbin/mkfs.ext4 -q small.ext4"
    ))?;
    for (name, disk, parts) in [
        (
            "own",
            "disk",
            "kernel: {path: ~/own/vmlinuz}\n  modules: {path: ~/own/modules}",
        ),
        (
            "bare",
            "small",
            "kernel: {path: ~/own/vmlinux}\n  initrd: {path: ~/own/initrd}",
        ),
    ] {
        lab.write(
            &format!(".config/banger/images/{name}.yaml"),
            &format!(
                "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {{name: {name}}}\nspec:\n  \
                 rootfs:\n    disk: {{path: ~/own/{disk}.ext4}}\n  {parts}\n"
            ),
        )?;
    }
    lab.image_ready("own")?;
    lab.image_ready("bare")
}

/// The kernel by its release; the modules by one that only the named directory has
/// loaded.
fn boots_what_was_named(lab: &Lab, release: &str) -> Result<()> {
    let found = lab.guest("own", "uname -r; grep -o '^ts_kmp ' /proc/modules; true")?;
    let found: Vec<&str> = found.split_whitespace().collect();
    ensure!(
        found == [release, "ts_kmp"],
        "{release} with ts_kmp was named, the guest has {found:?}"
    );
    Ok(())
}

/// A guest writes past the cap: the log is short again, its end is there, and the
/// VM doesn't notice.
fn console(lab: &Lab) -> Result<()> {
    let (pid, log) = (
        lab.pid("own")?,
        lab.field("own", ".status.runtime.serialLog")?,
    );
    // Nearly as long as it may be, so that the guest has little to add.
    lab.owner(&format!(
        "echo the oldest line >> {log} && yes an old line | \
         head -c $(({CAP} - 8192 - $(stat -c %s {log}))) >> {log} && echo >> {log} && \
         banger logs own | grep -c 'the oldest line'"
    ))?;
    let filler = "x".repeat(51);
    lab.guest(
        "own",
        &format!("seq -f 'written %04g {filler}' {LINES} > /dev/console"),
    )?;
    let is_short = format!("[ $(stat -c %s {log}) -lt $(({KEPT} + (1 << 20))) ]");
    let all = format!("[ $(su owner -c 'banger logs own' | grep -c '^written ') = {LINES} ]");
    lab.until(
        "the log is cut, and has all that the guest wrote",
        &format!("{is_short} && {all}"),
        SOON,
    )?;
    lab.owner(&format!(
        "[ $(stat -c %s {log}) -ge {KEPT} ] && ! banger logs own | grep 'the oldest line'"
    ))?;
    // It goes on at the new end: at the old one it would leave a hole before it.
    lab.guest("own", "echo after the cut > /dev/console")?;
    lab.until(
        "the console goes on",
        &format!(
            "su owner -c 'banger logs own --tail 20' | grep -q '^after the cut' && {is_short}"
        ),
        SOON,
    )?;
    ensure!(lab.pid("own")? == pid, "it is another Firecracker");
    Ok(())
}

/// An initrd of one's own on a kernel of one's own: it runs, and nobody says that it
/// is Ready.
fn own_initrd(lab: &Lab, release: &str) -> Result<()> {
    let document = Lab::document_over("bare", "bare", "terminationGracePeriodSeconds: 0");
    lab.write_vm("bare.yaml", &document)?;
    lab.until(
        "the initrd that was named says its word",
        &format!(
            "su owner -c 'banger logs bare' 2>/dev/null | \
             grep -q 'initrd of the owner on {release}$'"
        ),
        FIRST_WORD,
    )
    .with_context(|| lab.story("bare"))?;
    lab.until(
        "it is told why it isn't Ready",
        "su owner -c 'banger get vm bare -o json' | jq -e '.status | .phase == \"Booting\" and \
         any(.conditions[]; .type == \"Ready\" and .status == \"False\" and \
         (.message | contains(\"the initrd of image `bare`\")))' >/dev/null",
        SOON,
    )?;
    lab.owner("banger vm stop bare")?;
    Ok(())
}
