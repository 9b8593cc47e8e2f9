//! A disposable host with banger installed in it as its two services.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{Options, Output, Stages, TestHost, User, decoys, shell::quote};

/// A guest under software emulation boots in 10 to 40 s; a busy machine doubles that.
const READY: Duration = Duration::from_secs(240);

/// What is awaited within this is asked for more often.
const SHORT: Duration = Duration::from_secs(20);

/// The image whose guests are ready soonest, and the whole Debian, both as the
/// disposable host holds them below `/images`.
pub(crate) const QUICK: &str = "quick";
pub(crate) const DEBIAN: &str = "debian-12";

/// A host that runs banger for its owner.
#[derive(Debug)]
pub struct Lab {
    /// The host.
    pub host: TestHost,
}

/// What the host holds that a VM could have left: one line a thing, sorted.
/// Neither the pool nor what is somebody else's counts. The files of loops stand
/// as they are named below the state directory: the kernel no longer knows the
/// whole path once the mount namespace that opened them is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory(pub Vec<String>);

impl Lab {
    /// A fresh host with banger from this payload, its services up, no VM.
    ///
    /// # Errors
    /// The host doesn't come up, or the installation fails.
    pub fn up(name: &str, payload: &Path) -> Result<Self> {
        let options = Options {
            payload: Some(payload.to_path_buf()),
            ..Options::default()
        };
        Self::up_with(name, options)
    }

    /// As `up`, with all of the host's options.
    ///
    /// # Errors
    /// As `up`.
    pub fn up_with(name: &str, options: Options) -> Result<Self> {
        let lab = Self {
            host: TestHost::up_with(name, options)?,
        };
        Stages::default().run("install banger in the host", || lab.install())?;
        Ok(lab)
    }

    /// As `up_with`, on a host that holds what only looks like banger's.
    ///
    /// # Errors
    /// As `up`.
    pub fn among_decoys(name: &str, options: Options) -> Result<Self> {
        let lab = Self {
            host: TestHost::up_with(name, options)?,
        };
        decoys::plant(&lab.host)?;
        Stages::default().run("install banger in the host", || lab.install())?;
        Ok(lab)
    }

    fn install(&self) -> Result<()> {
        self.root(
            "/payload/banger system install --owner owner --from /payload \
             --firecracker /images/firecracker --jailer /images/jailer",
        )?;
        Ok(())
    }

    /// Runs a shell line as the owner; any status but 0 is an error.
    ///
    /// # Errors
    /// It failed.
    pub fn owner(&self, line: &str) -> Result<String> {
        self.checked(User::Owner, line, Duration::from_secs(300))
    }

    /// Runs a shell line as root; any status but 0 is an error.
    ///
    /// # Errors
    /// It failed.
    pub fn root(&self, line: &str) -> Result<String> {
        self.checked(User::Root, line, Duration::from_secs(300))
    }

    /// Runs a shell line as the owner, whatever its status.
    ///
    /// # Errors
    /// The host is gone.
    pub fn ask(&self, line: &str) -> Result<Output> {
        self.host
            .exec_within(User::Owner, line, Duration::from_secs(300))
    }

    fn checked(&self, user: User, line: &str, limit: Duration) -> Result<String> {
        let output = self.host.exec_within(user, line, limit)?;
        output
            .ok()
            .with_context(|| format!("{}: {line}", user.name()))
    }

    /// Puts a file of this text into the owner's directory of VMs, as an editor would.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write_vm(&self, file: &str, text: &str) -> Result<()> {
        self.write(&format!(".config/banger/vms/{file}"), text)
    }

    /// Puts a file of this text somewhere under the owner's home.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        ensure!(
            !text.contains("\nEOF\n"),
            "the text would end its own here-document"
        );
        self.owner(&format!("cat > ~/{path} <<'EOF'\n{text}\nEOF"))?;
        Ok(())
    }

    /// Declares an image of the disposable host's, where it isn't yet.
    ///
    /// # Errors
    /// It can't be written.
    pub fn declare_image(&self, image: &str) -> Result<()> {
        self.write(
            &format!(".config/banger/images/{image}.yaml"),
            &format!(
                "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {{name: {image}}}\n\
                 spec:\n  rootfs:\n    disk: {{path: /images/{image}.ext4}}\n"
            ),
        )
    }

    /// Waits until an image is Ready.
    ///
    /// # Errors
    /// It doesn't become Ready.
    pub fn image_ready(&self, image: &str) -> Result<()> {
        self.owner(&format!(
            "banger wait --for=condition=Ready image/{image} --timeout 240s"
        ))?;
        Ok(())
    }

    /// A VM's document over the quick image, with these lines of spec beside it.
    #[must_use]
    pub fn document(name: &str, spec: &str) -> String {
        Self::document_over(QUICK, name, spec)
    }

    /// As `document`, over another image.
    #[must_use]
    pub fn document_over(image: &str, name: &str, spec: &str) -> String {
        let lines: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        format!(
            "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\n\
             spec:\n  image: {image}\n  memory: 256Mi\n  rootDisk: {{size: 2Gi}}\n{lines}"
        )
    }

    /// Declares a VM by a dropped file and waits until it is Ready.
    ///
    /// # Errors
    /// It doesn't become Ready.
    pub fn vm(&self, name: &str, spec: &str) -> Result<()> {
        self.vm_over(QUICK, name, spec)
    }

    /// As `vm`, over another image.
    ///
    /// # Errors
    /// As `vm`.
    pub fn vm_over(&self, image: &str, name: &str, spec: &str) -> Result<()> {
        self.declare_image(image)?;
        let document = Self::document_over(image, name, spec);
        self.write_vm(&format!("{name}.yaml"), &document)?;
        self.ready(name)
    }

    /// Waits until a VM is Ready; the error shows what became of it.
    ///
    /// # Errors
    /// It doesn't become Ready.
    pub fn ready(&self, name: &str) -> Result<()> {
        let seconds = READY.as_secs();
        // The daemon may need a moment to see a dropped file: `wait` waits for
        // an object that isn't there yet, too.
        let line = format!("banger wait --for=condition=Ready vm/{name} --timeout {seconds}s");
        let output = self
            .host
            .exec_within(User::Owner, &line, READY + Duration::from_secs(60))?;
        if output.status != 0 {
            bail!(
                "VM {name} is not Ready: {}\n{}",
                output.stderr.trim_end(),
                self.story(name)
            );
        }
        Ok(())
    }

    /// Everything that tells why a VM isn't as it should be.
    #[must_use]
    pub fn story(&self, name: &str) -> String {
        let lines = [
            format!("banger describe vm {name}"),
            format!("banger logs {name} | tail -n 25"),
            "banger events | tail -n 25".to_owned(),
        ];
        let mut story = String::new();
        for line in lines {
            if let Ok(output) = self.ask(&line) {
                story += &format!("$ {line}\n{}{}\n", output.stdout, output.stderr);
            }
        }
        let journal = "journalctl -u bangerd -u banger-helper -n 60 --no-pager -o cat";
        if let Ok(output) = self.host.exec(User::Root, journal) {
            story += &format!("$ {journal}\n{}\n", output.stdout);
        }
        story
    }

    /// Runs a command in a guest over SSH, as its root.
    ///
    /// # Errors
    /// It failed, or the guest doesn't answer.
    pub fn guest(&self, name: &str, command: &str) -> Result<String> {
        self.owner(&format!("banger vm ssh {name} -- {}", quote(command)))
    }

    /// Runs a command in a guest, whatever its status.
    ///
    /// # Errors
    /// The host is gone.
    pub fn ask_guest(&self, name: &str, command: &str) -> Result<Output> {
        self.ask(&format!("banger vm ssh {name} -- {}", quote(command)))
    }

    /// A field of a VM, by jq.
    ///
    /// # Errors
    /// There is no such VM.
    pub fn field(&self, name: &str, jq: &str) -> Result<String> {
        let text = self.owner(&format!("banger get vm {name} -o json | jq -r '{jq}'"))?;
        Ok(text.trim_end().to_owned())
    }

    /// The VMM's pid.
    ///
    /// # Errors
    /// It isn't running.
    pub fn pid(&self, name: &str) -> Result<u32> {
        let pid = self.field(name, ".status.handles.pid")?;
        pid.parse()
            .with_context(|| format!("VM {name} has no VMM: pid {pid}"))
    }

    /// Has the daemon look at everything each five seconds rather than each
    /// minute: for what it is told of by nobody.
    ///
    /// # Errors
    /// The daemon doesn't come back.
    pub fn look_often(&self) -> Result<()> {
        self.write(
            ".config/banger/config.toml",
            "[directories]\nresyncSeconds = 5\n",
        )?;
        self.root("systemctl restart bangerd")?;
        Ok(())
    }

    /// Deletes a VM and waits until it is gone.
    ///
    /// # Errors
    /// It doesn't go.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.owner(&format!("banger delete vm {name} --yes"))?;
        Ok(())
    }

    /// Waits until a shell line of root's succeeds, asking every half second:
    /// for what only the host's own programs can tell.
    ///
    /// # Errors
    /// It doesn't in time.
    pub fn until(&self, what: &str, line: &str, limit: Duration) -> Result<()> {
        let seconds = limit.as_secs();
        // Asking costs what is waited for: under software emulation half a second
        // of one processor each time.
        let pause = if limit > SHORT { 2.0 } else { 0.5 };
        let script = format!(
            "for _ in $(seq {:.0}); do if {line}; then exit 0; fi; sleep {pause}; done; exit 1",
            limit.as_secs_f64() / pause
        );
        let output = self.host.exec_within(User::Root, &script, limit * 3)?;
        if output.status != 0 {
            bail!(
                "not within {seconds} s: {what}\n{}{}",
                output.stdout,
                output.stderr
            );
        }
        Ok(())
    }

    /// All that a scenario could leave changed and another one could stumble
    /// over, as text to be compared.
    ///
    /// # Errors
    /// The host is gone, or the daemon.
    pub fn state(&self) -> Result<String> {
        let objects = self.owner(
            "banger get vms -o json | jq -S '.items[] | [.metadata.name, .metadata.uid, .spec, \
             .status.phase, .status.handles.pid]'; banger get images -o name; \
             cd ~ && find . -path ./.local -prune -o -printf '%p %y\\n' | sort; \
             cat .config/banger/config.toml 2>/dev/null; \
             systemctl is-active bangerd.socket bangerd banger-helper.socket; \
             readlink /etc/resolv.conf; systemctl list-units --failed --no-legend --plain; \
             df --output=avail -BG /var/lib",
        )?;
        Ok(format!("{objects}{:?}", self.inventory()?))
    }

    /// What the kernel, systemd and the state directory hold.
    ///
    /// # Errors
    /// The host is gone.
    pub fn inventory(&self) -> Result<Inventory> {
        let text = self.root(
            "for link in /sys/class/net/*; do read -r alias < $link/ifalias; \
               case $alias in pool | foreign) ;; *) echo \"link ${link##*/}\" ;; esac; done; \
             losetup --noheadings --list --output BACK-FILE | sed 's,^/var/lib/banger/,/,; s,^,loop ,'; \
             dmsetup ls 2>/dev/null | awk '$1 != \"No\" {print \"dm \" $1}'; \
             pgrep -ax firecracker | sed 's/^[0-9]* /process /'; \
             systemctl list-units --all --plain --no-legend 'banger-vm-*' | awk '{print \"unit \" $1}'; \
             ls /var/lib/banger/vms 2>/dev/null | sed 's/^/vm /'; \
             ls /var/lib/banger-helper/jail/firecracker 2>/dev/null | sed 's/^/jail /'; \
             ls /run/banger/vms 2>/dev/null | sed 's/^/sockets /'",
        )?;
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !decoys::is_one(line))
            .map(str::to_owned)
            .collect();
        lines.sort();
        Ok(Inventory(lines))
    }
}
