//! Files of the owner's in guests.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

const SOON: Duration = Duration::from_secs(60);

pub(super) fn given(lab: &mut Lab) -> Result<()> {
    lab.owner(
        "mkdir -p ~/dotfiles ~/.ssh && echo first > ~/dotfiles/config && \
         chmod 0640 ~/dotfiles/config && ln -sfn dotfiles/config ~/.toolrc && \
         echo key > ~/.ssh/deploy && ln -sfn /etc/hostname ~/elsewhere",
    )?;
    lab.vm("web", "")?;
    let pid = lab.pid("web")?;
    let edit = |list: &str| {
        lab.write_vm(
            "web.yaml",
            &Lab::document("web", &format!("fileSync: [{list}]")),
        )
    };
    let there = |path: &str, content: &str| -> Result<()> {
        lab.until(
            &format!("{path} is in the guest"),
            &format!(
                "[ \"$(su owner -c 'banger vm ssh web -- cat {path}' 2>/dev/null)\" = {content} ]"
            ),
            SOON,
        )
    };
    // Live, through a link that stays in the home.
    edit("{source: ~/.toolrc, path: /etc/tool/rc}")?;
    there("/etc/tool/rc", "first")?;
    let mode = lab.guest("web", "stat -c '%a %U' /etc/tool/rc")?;
    ensure!(mode.trim() == "640 root", "it is {mode:?}");
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");

    // What may not go: outside the home, and ~/.ssh without the owner's word.
    for (source, why) in [
        ("~/elsewhere", "outside the home directory"),
        ("~/.ssh/deploy", "is in ~/.ssh"),
        ("~/none", "No such file"),
    ] {
        edit(&format!("{{source: {source}, path: /etc/tool/other}}"))?;
        lab.until(
            &format!("it is told of {source}"),
            &format!("su owner -c 'banger describe vm web' | grep -q '{why}'"),
            SOON,
        )?;
    }
    lab.guest("web", "[ ! -e /etc/tool/other ]")?;
    ensure!(lab.pid("web")? == pid, "it is another Firecracker");
    lab.owner(
        "printf '[fileSync]\\nallowSsh = true\\n' >> ~/.config/banger/config.toml && \
         banger config validate",
    )?;
    lab.root("systemctl restart bangerd")?;
    edit("{source: ~/.ssh/deploy, path: /etc/tool/key}, {source: ~/.toolrc, path: /etc/tool/rc}")?;
    there("/etc/tool/key", "key")?;

    // At a start they come as they are by then.
    lab.owner("echo second > ~/dotfiles/config && banger vm restart web")?;
    lab.ready("web")?;
    there("/etc/tool/rc", "second")?;
    Ok(())
}
