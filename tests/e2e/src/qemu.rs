//! QEMU's command line, and its start.
//!
//! The drives' order is the contract with the host's fstab: `vda` root, `vdb`
//! images, `vdc` payload.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io,
    os::unix::{ffi::OsStrExt as _, ffi::OsStringExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::sys::{
    prctl,
    signal::{SigSet, Signal},
};
use serde::{Deserialize, Serialize};

use crate::{keeper, qmp};

/// The file of QEMU's own messages.
pub(crate) const MESSAGES: &str = "qemu.log";

/// Who runs the CPU's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The machine's own KVM, where it passed the probe.
    Kvm,
    /// Software emulation, of AMD's SVM with nested paging too.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "software emulation",
        })
    }
}

impl Accel {
    pub(crate) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Without ERMS and FSRM, which make kernel and libc copy and clear byte by
            // byte here, and without a fifth level of page tables.
            Self::Tcg => [
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max,+svm,+npt,erms=off,fsrm=off,la57=off",
            ],
        }
    }

    /// What the kernel is told beside the rest.
    fn kernel_words(self) -> &'static str {
        match self {
            Self::Kvm => "",
            // QEMU translates code for each address that it runs at: with random ones
            // each process is translated anew, and starting a program takes several
            // times as long.
            Self::Tcg => "norandmaps ",
        }
    }
}

/// Where the machine's memory lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Memory {
    /// In QEMU alone.
    Anonymous,
    /// In a file that becomes what the memory is: the machine can be saved.
    Shared(PathBuf),
    /// What a file holds, without changing it: the machine goes on from there,
    /// and reads only what it uses.
    Private(PathBuf),
}

/// Everything that one QEMU process needs; kept in the instance's directory so
/// that `reset` starts the same machine again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Shown in the process list.
    pub name: String,
    /// The accelerator.
    pub accel: Accel,
    /// Virtual CPUs.
    pub cpus: u8,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Where it lies.
    pub memory: Memory,
    /// The kernel (bzImage).
    pub kernel: PathBuf,
    /// The boot initrd.
    pub initrd: PathBuf,
    /// The root disk, writable.
    pub root: PathBuf,
    /// Whether the root disk survives a power cut as a real one does: flushes
    /// reach the file. Otherwise they are ignored, which is quicker.
    pub durable: bool,
    /// Read-only drive with the guest image and Firecracker.
    pub images: PathBuf,
    /// Read-only drive with what this run brings.
    pub payload: PathBuf,
    /// The serial console is appended here.
    pub console: PathBuf,
    /// The port on 127.0.0.1 that leads to the host's SSH server.
    pub ssh_port: u16,
    /// The base64 part of the ed25519 public key that may log in.
    pub ssh_key: String,
}

impl Machine {
    /// The arguments, without the program.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut list = Arguments::default();
        list.words(&["-name", &format!("banger-e2e-{}", self.name)]);
        // -no-reboot: with panic=1 a kernel panic ends QEMU.
        list.words(&[
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        list.words(&self.accel.arguments());
        list.words(&[
            "-smp",
            &self.cpus.to_string(),
            "-m",
            &self.memory_mib.to_string(),
        ]);
        let backed = match &self.memory {
            Memory::Anonymous => None,
            Memory::Shared(file) => Some((file, "on")),
            Memory::Private(file) => Some((file, "off")),
        };
        if let Some((file, share)) = backed {
            let rest = format!(",share={share},size={}M", self.memory_mib);
            let object = "memory-backend-file,id=memory,mem-path=";
            list.option("-object", object, file, &rest);
            list.words(&["-machine", "memory-backend=memory"]);
        }
        list.option("-kernel", "", &self.kernel, "");
        list.option("-initrd", "", &self.initrd, "");
        list.words(&["-append", &self.kernel_command_line()]);
        list.option(
            "-chardev",
            "file,id=console,append=on,path=",
            &self.console,
            "",
        );
        list.words(&["-serial", "chardev:console"]);
        let cache = if self.durable { "writeback" } else { "unsafe" };
        list.option(
            "-drive",
            "format=raw,if=virtio,file=",
            &self.root,
            &format!(",cache={cache}"),
        );
        for drive in [&self.images, &self.payload] {
            list.option(
                "-drive",
                "format=raw,if=virtio,readonly=on,file=",
                drive,
                "",
            );
        }
        // restrict=on: the host sees no network but its own fake internet.
        let port = self.ssh_port;
        list.words(&[
            "-netdev",
            &format!("user,id=login,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        ]);
        list.words(&["-device", "virtio-net-pci,netdev=login,romfile="]);
        list.words(&["-device", "virtio-rng-pci"]);
        list.words(&["-qmp", &format!("unix:{},server=on,wait=off", qmp::SOCKET)]);
        list.0
    }

    fn kernel_command_line(&self) -> String {
        // net.ifnames=0: the login's card is eth0 whatever slot it gets.
        format!(
            "console=ttyS0 panic=1 oops=panic mitigations=off quiet loglevel=4 net.ifnames=0 \
             systemd.show_status=no {}banger_e2e.ssh_key={}",
            self.accel.kernel_words(),
            self.ssh_key
        )
    }

    /// Starts QEMU in a session of its own, in `directory`, where its messages
    /// go to `qemu.log`. It boots, or waits for a saved state to be `loaded`.
    /// With `die_with_us` the kernel kills it when this process ends.
    ///
    /// # Errors
    /// The program isn't there, or its messages' file can't be opened.
    pub(crate) fn spawn(
        &self,
        directory: &Path,
        loaded: bool,
        die_with_us: bool,
    ) -> io::Result<Child> {
        let messages = File::create(directory.join(MESSAGES))?;
        let mut command = Command::new("qemu-system-x86_64");
        if loaded {
            command.args(["-incoming", "defer"]);
        }
        command
            .args(self.arguments())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(messages.try_clone()?)
            .stderr(messages);
        let parent = std::process::id();
        let in_child = move || {
            // The starter blocks signals to wait for them; QEMU shall not.
            SigSet::empty().thread_set_mask()?;
            rustix::process::setsid()?;
            if die_with_us {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                if std::os::unix::process::parent_id() != parent {
                    return Err(io::Error::other("the starter has ended"));
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes plain system calls
        // only: it takes no lock and, but for an error, allocates nothing.
        unsafe { command.pre_exec(in_child) };
        if die_with_us {
            keeper::spawn(command)
        } else {
            command.spawn()
        }
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    /// `FLAG BEFORE<path>AFTER`. Where the path stands in a list of options its
    /// commas are doubled, as QEMU's parser asks.
    fn option(&mut self, flag: &str, before: &str, path: &Path, after: &str) {
        let mut value = before.as_bytes().to_vec();
        let in_list = !before.is_empty();
        for &byte in OsStr::as_bytes(path.as_os_str()) {
            value.push(byte);
            if byte == b',' && in_list {
                value.push(b',');
            }
        }
        value.extend(after.as_bytes());
        self.0.push(flag.into());
        self.0.push(OsString::from_vec(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            name: "one".to_owned(),
            accel: Accel::Tcg,
            cpus: 2,
            memory_mib: 4096,
            memory: Memory::Anonymous,
            kernel: "/c/vmlinuz".into(),
            initrd: "/c/initrd".into(),
            root: "/c/a,b/disk".into(),
            durable: false,
            images: "/c/images".into(),
            payload: "/c/payload".into(),
            console: "/c/console.log".into(),
            ssh_port: 4022,
            ssh_key: "AAAA".to_owned(),
        }
    }

    fn line(machine: &Machine) -> String {
        let words: Vec<_> = machine
            .arguments()
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }

    #[test]
    fn drives_come_in_the_order_that_the_fstab_relies_on() {
        let line = line(&machine());
        let at = |text: &str| line.find(text);
        assert!(at("/c/a,,b/disk,cache=unsafe").is_some(), "{line}");
        assert!(at("disk,cache") < at("file=/c/images"));
        assert!(at("file=/c/images") < at("file=/c/payload"));
        assert_eq!(line.matches("readonly=on").count(), 2);
    }

    #[test]
    fn a_durable_disk_keeps_its_flushes() {
        let durable = Machine {
            durable: true,
            ..machine()
        };
        assert!(line(&durable).contains("disk,cache=writeback"));
    }

    #[test]
    fn only_this_machine_reaches_the_login() {
        let line = line(&machine());
        assert!(line.contains("restrict=on,hostfwd=tcp:127.0.0.1:4022-:22"));
        assert!(line.contains("banger_e2e.ssh_key=AAAA"));
    }

    #[test]
    fn software_emulation_offers_nested_paging() {
        assert!(line(&machine()).contains("-accel tcg,thread=multi -cpu max,+svm,+npt"));
    }

    #[test]
    fn addresses_are_random_but_under_software_emulation() {
        let real = Machine {
            accel: Accel::Kvm,
            ..machine()
        };
        assert!(!line(&real).contains("norandmaps"));
        assert!(line(&machine()).contains(" norandmaps "));
    }
}
