//! The bound: a compromised owner account may destroy its own VMs, use up its
//! quota and reach the networks it is allowed; nothing else.

use anyhow::{Result, ensure};

use crate::lab::Lab;

/// What names are asked for where, and who listens below port 1024: root's alone
/// to say. Without the interfaces that have no server, for taps come and go.
const ROOTS: &str = "{ resolvectl dns && resolvectl domain; } | grep ': .'; \
                     ss -Hlntu 'sport < :1024' | awk '{print $1, $5}' | sort";

pub(super) fn helper(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    lab.vm("worker", "")?;
    attack(lab, false)?;
    lab.delete("worker")
}

/// All that the owner may try beside `web` and `worker`, which run and go on
/// running; or what of it is `quick`.
pub(super) fn attack(lab: &Lab, quick: bool) -> Result<()> {
    let (uid, pid) = (lab.field("web", ".metadata.uid")?, lab.pid("web")?);
    let slot = lab.field("web", ".status.handles.tap | ltrimstr(\"bgr\")")?;
    let cow = lab.field("web", ".status.handles.cowLoop | ltrimstr(\"/dev/loop\")")?;
    let foreign = lab.root(
        "losetup -n -O NAME -j /srv/foreign/disk | sed 's,/dev/loop,,'; \
         install -m 0644 /dev/null /var/lib/banger/foreign.img",
    )?;
    let helper = lab.root("systemctl show -P MainPID banger-helper")?;
    let descriptors = format!("ls /proc/{}/fd | wc -l", helper.trim());
    let before = (lab.inventory()?, lab.root(ROOTS)?);
    let held = lab.root(&descriptors)?;

    let tried = lab.owner(&format!(
        "ulimit -n $(ulimit -Hn); /payload/attack --victim {uid} --victim-slot {slot} \
         --victim-loop {cow} --foreign-loop {}{}",
        foreign.trim(),
        if quick { " --quick" } else { "" }
    ));
    lab.root("rm /var/lib/banger/foreign.img")?;
    println!("{}", tried?.trim_end());

    api_socket(lab, &uid)?;
    let now = lab.root("systemctl show -P MainPID banger-helper")?;
    ensure!(
        now == helper,
        "the helper crashed: pid {helper}, then {now}"
    );
    let after = (lab.inventory()?, lab.root(ROOTS)?);
    ensure!(after == before, "before: {before:?}\nafter: {after:?}");
    let now = lab.root(&descriptors)?;
    let count = |text: &str| text.trim().parse::<i32>();
    ensure!(
        count(&now)? < count(&held)? + 70,
        "the helper keeps descriptors: {held} before, {now} after"
    );
    ensure!(
        lab.pid("web")? == pid && lab.guest("web", "hostname")?.trim() == "web",
        "web suffered"
    );
    Ok(())
}

/// Firecracker does what its owner says, within its jail.
fn api_socket(lab: &Lab, uid: &str) -> Result<()> {
    let other = lab.field("worker", ".metadata.uid")?;
    for path in [
        "/etc/shadow".to_owned(),
        "/dev/vda".to_owned(),
        format!("/var/lib/banger/vms/{other}/root.cow"),
        format!("/dev/mapper/banger-{other}-root"),
        "../../../../../etc/shadow".to_owned(),
    ] {
        let answer = lab.owner(&format!(
            "curl -s -o /tmp/answer -w '%{{http_code}}' --unix-socket /run/banger/vms/{uid}/fc.sock \
             -X PATCH http://localhost/drives/root -H 'Content-Type: application/json' \
             -d '{{\"drive_id\":\"root\",\"path_on_host\":\"{path}\"}}'; cat /tmp/answer"
        ))?;
        ensure!(
            answer.starts_with("400") && answer.contains("No such file"),
            "Firecracker opened {path}: {answer}"
        );
    }
    Ok(())
}
