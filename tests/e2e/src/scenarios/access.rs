//! Another account of the same host.

use anyhow::{Result, ensure};

use crate::{User, lab::Lab};

pub(super) fn foreign_account(lab: &mut Lab) -> Result<()> {
    lab.vm("web", "")?;
    for socket in ["/run/banger/bangerd.sock", "/run/banger/helper.sock"] {
        // perl-base is on every Debian.
        let connect = format!(
            "perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; \
             connect($s, pack_sockaddr_un($ARGV[0])) or die \"$!\\n\"' {socket} 2>&1"
        );
        let output = lab.host.exec(User::Stranger, &connect)?;
        ensure!(
            output.status != 0 && output.stdout.contains("Permission denied"),
            "{socket} answered a stranger: {}",
            output.stdout
        );
        let output = lab.host.exec(User::Owner, &connect)?;
        ensure!(
            output.status == 0,
            "{socket} refuses its owner: {}",
            output.stdout
        );
    }
    let output = lab.host.exec(User::Stranger, "banger get vms 2>&1")?;
    ensure!(
        output.status != 0 && output.stdout.contains("owner"),
        "the stranger is told {:?}",
        output.stdout
    );
    let uid = lab.field("web", ".metadata.uid")?;
    for path in [
        "/var/lib/banger/vms".to_owned(),
        format!("/run/banger/vms/{uid}"),
    ] {
        let output = lab.host.exec(User::Stranger, &format!("ls {path}"))?;
        ensure!(
            output.status != 0,
            "a stranger lists {path}: {}",
            output.stdout
        );
    }
    owners_group(lab, uid.trim())
}

/// Its primary group may be that of everybody's (`users`).
fn owners_group(lab: &Lab, uid: &str) -> Result<()> {
    lab.root("usermod --append --groups owner stranger")?;
    // As root: a session that is there keeps the groups that it has.
    let ask = |user: &str| {
        let socket = format!("/run/banger/vms/{uid}/fc.sock");
        let line = format!(
            "runuser -u {user} -- sh -c 'id -Gn; \
             curl -sS --unix-socket {socket} http://localhost/version' 2>&1"
        );
        lab.host.exec(User::Root, &line)
    };
    let (stranger, owner) = (ask("stranger")?, ask("owner")?);
    let socket = lab.root(&format!("stat -c '%a %G' /run/banger/vms/{uid}/fc.sock"))?;
    lab.root("gpasswd --delete stranger owner")?;
    ensure!(
        stranger.stdout.contains("owner") && stranger.status != 0,
        "an account of the owner's group reaches a VM's socket ({socket}): {stranger:?}"
    );
    ensure!(
        owner.status == 0 && owner.stdout.contains("firecracker_version"),
        "the owner is kept out ({socket}): {owner:?}"
    );
    Ok(())
}
