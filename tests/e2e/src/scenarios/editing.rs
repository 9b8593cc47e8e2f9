//! How people really edit. Whatever their tools do to the files in between,
//! the VM goes on running, under its uid, and takes what they wrote.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;

const SOON: Duration = Duration::from_secs(30);
const VMS: &str = "cd ~/.config/banger/vms";

/// A VM that runs, and must go on running as it is.
struct Running {
    name: &'static str,
    uid: String,
    pid: u32,
}

impl Running {
    fn web(lab: &Lab) -> Result<Self> {
        // Of a scenario that failed.
        lab.owner(&format!(
            "mkdir -p ~/.config/banger/vms && {VMS} && rm -rf .git site.yaml copy.yaml many.yaml"
        ))?;
        lab.vm("web", "")?;
        Self::of(lab, "web")
    }

    fn of(lab: &Lab, name: &'static str) -> Result<Self> {
        Ok(Self {
            name,
            uid: lab.field(name, ".metadata.uid")?,
            pid: lab.pid(name)?,
        })
    }

    fn is_untouched(&self, lab: &Lab) -> Result<()> {
        let uid = lab.field(self.name, ".metadata.uid")?;
        ensure!(uid == self.uid, "{} is another VM: {uid}", self.name);
        let pid = lab.pid(self.name)?;
        ensure!(pid == self.pid, "{} was restarted: pid {pid}", self.name);
        let host_name = lab.guest(self.name, "hostname")?;
        ensure!(host_name.trim() == self.name, "the guest is gone");
        Ok(())
    }
}

/// web's document with a label that says who wrote it.
fn labelled(label: &str) -> String {
    Lab::document("web", "").replace(
        "metadata: {name: web}",
        &format!("metadata: {{name: web, labels: {{by: {label}}}}}"),
    )
}

/// A VM that never runs: it costs nothing but its row.
fn halted(name: &str) -> String {
    Lab::document(name, "runPolicy: Halted")
}

fn label_is(lab: &Lab, label: &str) -> Result<()> {
    lab.until(
        &format!("the label `by: {label}`"),
        &format!(
            "su owner -c 'banger get vm web -o json' 2>/dev/null | jq -e '.metadata.labels.by == \"{label}\"' >/dev/null"
        ),
        SOON,
    )
}

/// Whether web says that its document is bad, or missing and waited for, with
/// this in the message.
fn is_held(lab: &Lab, text: &str) -> Result<()> {
    lab.until(
        &format!("web says `{text}`"),
        &format!(
            "su owner -c 'banger get vm web -o json' 2>/dev/null | jq -e '[.status.conditions[] | \
             select((.type == \"DeletionHeld\" and .status == \"True\") or \
             (.type == \"Accepted\" and .status == \"False\")) | .message | \
             contains(\"{text}\")] | any' >/dev/null"
        ),
        SOON,
    )
}

pub(super) fn vim(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    // The new file under a new name, the old one to a backup, then renamed.
    lab.owner(&format!(
        "{VMS} && vim.tiny -u NONE -n -es -c 'set backup backupcopy=no' \
         -c '%s/{{name: web}}/{{name: web, labels: {{by: vim}}}}/' -c wq web.yaml"
    ))?;
    label_is(lab, "vim")?;
    web.is_untouched(lab)?;
    lab.owner(&format!("{VMS} && rm -f web.yaml~"))?;
    Ok(())
}

pub(super) fn truncate_and_write(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    lab.write("new.yaml", &labelled("code"))?;
    // Longer in between than a missing document takes to count as gone.
    lab.owner(&format!(
        "{VMS} && : > web.yaml && sleep 4 && cat ~/new.yaml > web.yaml"
    ))?;
    label_is(lab, "code")?;
    web.is_untouched(lab)
}

pub(super) fn sed(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    lab.owner(&format!(
        "{VMS} && sed -i 's/{{name: web}}/{{name: web, labels: {{by: sed}}}}/' web.yaml"
    ))?;
    label_is(lab, "sed")?;
    web.is_untouched(lab)
}

pub(super) fn slow_copy(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    let mut documents = vec![labelled("slow")];
    documents.extend((0..30).map(|n| halted(&format!("many-{n}"))));
    lab.write("many.yaml", &documents.join("\n---\n"))?;
    // The file takes web's place, half of it at first.
    let copy = |to: &str| {
        format!(
            "{VMS} && size=$(stat -c %s ~/many.yaml) && \
             {{ head -c $((size / 2)) ~/many.yaml; sleep 4; tail -c +$((size / 2 + 1)) ~/many.yaml; }} > {to}"
        )
    };
    lab.owner(&format!("{VMS} && rm web.yaml && {}", copy("many.yaml")))?;
    label_is(lab, "slow")?;
    let all = "su owner -c 'banger get vms -o name' | grep -c many-";
    lab.until("all thirty", &format!("[ $({all}) = 30 ]"), SOON)?;
    let uids = "banger get vms -o json | jq -er '.items[] | .metadata.uid' | sort";
    let before = lab.owner(uids)?;
    ensure!(
        before.contains('-'),
        "there are no uids to compare: {before}"
    );
    // Copied over itself just as slowly: every VM keeps its uid.
    lab.owner(&copy("many.yaml"))?;
    label_is(lab, "slow")?;
    ensure!(
        lab.owner(uids)? == before,
        "the slow copy made VMs new: {before}"
    );
    web.is_untouched(lab)?;
    lab.write_vm("web.yaml.new", &labelled("slow"))?;
    lab.owner(&format!(
        "{VMS} && mv web.yaml.new web.yaml && rm many.yaml"
    ))?;
    let names: Vec<String> = (0..30).map(|n| format!("vm/many-{n}")).collect();
    lab.owner(&format!("banger delete --yes {}", names.join(" ")))?;
    web.is_untouched(lab)
}

pub(super) fn git_checkout(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    for name in ["kept", "side", "other"] {
        lab.write_vm(&format!("{name}.yaml"), &halted(name))?;
    }
    lab.owner("banger wait --for=condition=Accepted vm/kept vm/side vm/other --timeout 30s")?;
    let uids = "banger get vms -o json | jq -er '.items[] | .metadata.name + \" \" + .metadata.uid' | sort";
    let before = lab.owner(uids)?;
    ensure!(
        before.contains('-'),
        "there are no uids to compare: {before}"
    );
    lab.owner(&format!(
        "{VMS} && git init -q -b main && git config user.name o && git config user.email o@h && \
         git add . && git commit -qm all && git checkout -q -b half && \
         git rm -q web.yaml side.yaml && git commit -qm half && sleep 20 && git checkout -q main"
    ))?;
    // One alone counts after 2 s: a look at the other branch is shorter.
    lab.owner(&format!(
        "{VMS} && git checkout -q -b one && git rm -q --cached web.yaml && git commit -qm one && \
         git checkout -q -f main && \
         git checkout -q one && [ ! -e web.yaml ] && git checkout -q main"
    ))?;
    // As long again as the absence would have taken to count, had it gone on.
    lab.owner("sleep 3")?;
    ensure!(
        lab.owner(uids)? == before,
        "the branch made VMs new: {before}"
    );
    web.is_untouched(lab)?;
    lab.owner(&format!("{VMS} && rm -rf .git"))?;
    for name in ["kept", "side", "other"] {
        lab.delete(name)?;
    }
    Ok(())
}

pub(super) fn git_mv_with_a_typo(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    lab.owner(&format!(
        "{VMS} && git init -q && git add web.yaml && git mv web.yaml site.yaml && \
         sed -i 's/^metadata:.*/metadata: {{name: web/' site.yaml"
    ))?;
    is_held(lab, "site.yaml")?;
    lab.owner("sleep 4")?;
    web.is_untouched(lab)?;
    lab.owner(&format!(
        "{VMS} && sed -i 's/^metadata:.*/metadata: {{name: web, labels: {{by: git}}}}/' site.yaml"
    ))?;
    label_is(lab, "git")?;
    web.is_untouched(lab)?;
    lab.owner(&format!("{VMS} && mv site.yaml web.yaml && rm -rf .git"))?;
    Ok(())
}

pub(super) fn links(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    // stow's way: a link in the directory, the file among the dotfiles.
    lab.owner(&format!(
        "mkdir -p ~/dotfiles/banger/.config/banger/vms && {VMS} && \
         mv web.yaml ~/dotfiles/banger/.config/banger/vms/ && \
         cd ~/dotfiles && stow --no-folding -t ~ banger"
    ))?;
    lab.owner("sleep 3")?;
    web.is_untouched(lab)?;
    // The target is replaced, which the directory of the link doesn't show.
    lab.write("dotfiles/new", &labelled("stow"))?;
    lab.owner("cd ~/dotfiles && mv new banger/.config/banger/vms/web.yaml")?;
    label_is(lab, "stow")?;
    web.is_untouched(lab)?;
    // home-manager's way: the target can't be written, and is refused by name.
    lab.root(
        "install -D -m 444 ~owner/dotfiles/banger/.config/banger/vms/web.yaml /srv/store/web.yaml && \
         ln -sfn /srv/store/web.yaml ~owner/.config/banger/vms/web.yaml && \
         chown -h owner ~owner/.config/banger/vms/web.yaml",
    )?;
    lab.write("web-edited.yaml", &labelled("apply"))?;
    let refused = lab.ask("banger apply -f ~/web-edited.yaml --timeout 30s")?;
    ensure!(
        refused.status != 0 && refused.stderr.contains("/srv/store/web.yaml"),
        "apply to a read-only target: status {}\n{}",
        refused.status,
        refused.stderr
    );
    web.is_untouched(lab)?;
    // Its next generation: the link is made anew and leads to another file.
    lab.write("next.yaml", &labelled("home-manager"))?;
    lab.root(
        "install -D -m 444 ~owner/next.yaml /srv/store/next/web.yaml && \
         ln -s /srv/store/next/web.yaml ~owner/.config/banger/vms/.web.new && \
         chown -h owner ~owner/.config/banger/vms/.web.new && \
         mv -T ~owner/.config/banger/vms/.web.new ~owner/.config/banger/vms/web.yaml",
    )?;
    label_is(lab, "home-manager")?;
    web.is_untouched(lab)?;
    lab.owner("rm -rf ~/.config/banger/vms/web.yaml ~/dotfiles ~/next.yaml ~/web-edited.yaml")?;
    lab.write_vm("web.yaml", &labelled("stow"))?;
    lab.root("rm -r /srv/store")?;
    lab.ready("web")
}

pub(super) fn chezmoi(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    // It writes each file under a name of its own and renames it over the old one.
    lab.write("new.yaml", &labelled("chezmoi"))?;
    lab.owner(&format!(
        "{VMS} && for n in 1 2 3 4 5; do cp ~/new.yaml .web.yaml1234$n && mv .web.yaml1234$n web.yaml; done"
    ))?;
    label_is(lab, "chezmoi")?;
    web.is_untouched(lab)
}

pub(super) fn unmounted(lab: &mut Lab) -> Result<()> {
    // Nobody tells of a mount.
    lab.look_often()?;
    let web = Running::web(lab)?;
    lab.root(
        "cp -a ~owner/.config/banger/vms ~owner/vms-real && \
         mount --bind ~owner/vms-real ~owner/.config/banger/vms",
    )?;
    lab.owner("sleep 3 && banger diff")?;
    // What lies beneath is empty, as a mount point is.
    let result = (|| {
        lab.root("mkdir -p /mnt/empty && chown owner /mnt/empty && mount --bind /mnt/empty ~owner/.config/banger/vms")?;
        is_held(lab, "mounted")?;
        lab.owner("sleep 4")?;
        web.is_untouched(lab)?;
        // Nor does a daemon that starts now believe that all is gone.
        lab.root("systemctl restart bangerd")?;
        lab.owner("sleep 4")?;
        web.is_untouched(lab)
    })();
    lab.root(
        "umount ~owner/.config/banger/vms; umount ~owner/.config/banger/vms; rm -rf ~owner/vms-real",
    )?;
    result?;
    lab.until(
        "the hold is over",
        "! su owner -c 'banger get vm web -o json' | jq -e '.status.conditions[] | \
         select(.type == \"DeletionHeld\" and .status == \"True\")' >/dev/null",
        SOON,
    )?;
    web.is_untouched(lab)
}

pub(super) fn declared_twice(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    lab.write_vm("copy.yaml", &labelled("copy"))?;
    is_held(lab, "copy.yaml")?;
    let label = lab.field("web", ".metadata.labels.by")?;
    ensure!(label == "null", "the copy was taken: {label}");
    web.is_untouched(lab)?;
    lab.owner(&format!("{VMS} && rm copy.yaml"))?;
    lab.ready("web")?;
    web.is_untouched(lab)
}

pub(super) fn renamed_file(lab: &mut Lab) -> Result<()> {
    let web = Running::web(lab)?;
    lab.owner(&format!("{VMS} && mv web.yaml site.yaml && sleep 4"))?;
    web.is_untouched(lab)?;
    ensure!(
        lab.ask("banger diff")?.status == 0,
        "a renamed file is no change"
    );
    lab.owner(&format!("{VMS} && mv site.yaml web.yaml"))?;
    Ok(())
}
