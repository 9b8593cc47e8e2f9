//! The Debian package, from a host that has banger without one to a host that has
//! no banger any more.

use anyhow::{Result, ensure};

use crate::{User, lab::Lab, package, payload};

const INSTALL: &str = "banger system install --owner owner \
                       --firecracker /images/firecracker --jailer /images/jailer";

/// What a removal takes away, as a list for the shell.
const INSTALLED: &str = "/usr/bin/banger /usr/libexec/banger /usr/lib/banger /etc/banger \
                         /run/banger /etc/systemd/system/{banger.slice,bangerd.*,banger-helper.*} \
                         /etc/udev/rules.d/*banger*";

/// The host as it is made is without documentation, and tells dpkg so.
const DPKG: &str = "dpkg --path-include='/usr/share/doc/banger/*' --install";

pub(super) fn package(lab: &mut Lab) -> Result<()> {
    let programs = payload::installed()?;
    for revision in ["1", "2"] {
        let deb = package::pack(programs.path(), revision, true)?;
        let target = format!("/root/banger-{revision}.deb");
        lab.host.push(User::Root, &deb, &target)?;
    }
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    let uid = lab.field("web", ".metadata.uid")?;
    arrive(lab, "1")?;
    arrive(lab, "2")?;
    remove(lab)?;
    again(lab, &uid)?;
    purge(lab)?;
    purge_without(lab)
}

/// A package comes to a host that runs banger, of another package or of none.
fn arrive(lab: &Lab, revision: &str) -> Result<()> {
    let daemon = || lab.root("systemctl show --property MainPID --value bangerd.service");
    let (before, pid) = (daemon()?, lab.pid("web")?);
    // All have the same programs: a damaged one tells that they came.
    lab.root("cp /bin/true /usr/lib/banger/banger-agent")?;
    lab.root(&format!("{DPKG} /root/banger-{revision}.deb"))?;
    lab.ready("web")?;
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");
    ensure!(daemon()? != before, "the old version's daemon still runs");
    lab.root(
        "for program in banger bangerd banger-helper banger-agent; do \
           cmp /usr/libexec/banger/$program /usr/lib/banger/$program || exit 1; done; \
         for program in firecracker jailer; do \
           cmp /images/$program /usr/lib/banger/$program || exit 1; done",
    )?;
    let version = lab.root("dpkg-query --show --showformat '${Version}' banger")?;
    ensure!(
        version.ends_with(&format!("-{revision}")),
        "it is {version}"
    );
    lab.guest("web", "true")?;
    dpkg_s_own(lab)
}

/// Every file is as the package brought it, and the shell finds its program.
fn dpkg_s_own(lab: &Lab) -> Result<()> {
    lab.root("readlink -e /usr/bin/banger | grep -qx /usr/libexec/banger/banger")?;
    let changed = lab.root("dpkg --verify banger")?;
    ensure!(changed.is_empty(), "dpkg finds other files: {changed}");
    Ok(())
}

fn remove(lab: &Lab) -> Result<()> {
    let pid = lab.pid("web")?;
    let refused = lab.host.exec(User::Root, "dpkg -r banger")?;
    ensure!(
        refused.status != 0 && refused.stderr.contains("running"),
        "it was removed under a running VM: {}",
        refused.stderr
    );
    lab.root("dpkg-query --show --showformat '${db:Status-Status}' banger | grep -qx installed")?;
    lab.ready("web")?;
    ensure!(lab.pid("web")? == pid, "the refusal cost the VM its VMM");

    lab.owner("banger vm stop web worker")?;
    lab.root("dpkg -r banger")?;
    lab.root(&format!("! ls -d {INSTALLED} 2>/dev/null | grep ."))?;
    lab.root(
        "! systemctl list-units --all --plain --no-legend banger.slice 'bangerd*' 'banger-helper*' \
           'banger-vm-*' | grep .",
    )?;
    lab.root("[ -s /var/lib/banger/banger.db ] && find /var/lib/banger/vms -type f -size +1M | grep -q .")?;
    Ok(())
}

/// The package on a host without banger sets nothing up; who asks for it gets
/// the VMs of before.
fn again(lab: &Lab, uid: &str) -> Result<()> {
    let said = lab.root(&format!("{DPKG} /root/banger-2.deb"))?;
    ensure!(
        said.contains("sudo banger system install --owner USER"),
        "nobody is told what comes next: {said}"
    );
    lab.root("! systemctl cat bangerd.service >/dev/null 2>&1 && [ ! -e /etc/banger ]")?;
    lab.root(INSTALL)?;
    dpkg_s_own(lab)?;
    let found = lab.field("web", ".metadata.uid")?;
    ensure!(found == uid, "it is another VM: {found}");
    Ok(())
}

fn purge(lab: &Lab) -> Result<()> {
    // As dpkg runs it, and once more where there is nothing left to do.
    lab.root("cp /var/lib/dpkg/info/banger.postrm /root/postrm")?;
    lab.root("dpkg -P banger && /root/postrm purge")?;
    lab.root(NOTHING)?;
    lab.owner("[ -e ~/.config/banger/vms/web.yaml ]")?;
    Ok(())
}

/// Not the owner's own documents, not what the host was made with, and not what
/// udev knows of the decoys.
const NOTHING: &str = "! find /etc /run /usr /var -xdev -name '*banger*' ! -name '*banger-e2e*' \
                         ! -path '/var/log/*' ! -path '/var/tmp/*' \
                         ! -path '/run/udev/*' | grep .";

/// The same by banger's own command, where it came without a package.
fn purge_without(lab: &Lab) -> Result<()> {
    // No document, so that no guest boots for this.
    lab.owner("rm -f ~/.config/banger/{vms,images}/*")?;
    lab.root(&format!("/payload/{INSTALL} --from /payload"))?;
    lab.owner("banger get vms && [ -s /var/lib/banger/banger.db ]")?;
    let unasked = lab.host.exec(
        User::Root,
        "/payload/banger system uninstall --purge < /dev/null",
    )?;
    ensure!(unasked.status != 0, "nobody was asked: {unasked:?}");
    lab.root("[ -s /var/lib/banger/banger.db ] && systemctl is-active bangerd.service")?;
    lab.root("/payload/banger system uninstall --purge --yes")?;
    lab.root(NOTHING)?;
    lab.owner("[ -d ~/.config/banger/vms ]")?;
    Ok(())
}
