//! Objects of somebody else's that have a name like ours. Only what everybody
//! may read is looked at: sysfs and procfs. They are told and never touched.
//!
//! Each entry says what proof it lacks (design, "Identity of host objects").

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use banger_core::inventory::{LookAlike, Object};
use banger_protocol::Inventory;
use banger_protocol::inventory::Probe;

/// Where the kernel shows its objects; tests have a tree of their own.
#[derive(Clone, Debug)]
pub struct Trees {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
}

impl Trees {
    /// The host's own.
    pub fn host() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
        }
    }
}

/// Reads them all; the inventory tells which objects are ours. Blocks.
pub fn read(
    trees: &Trees,
    inventory: &Inventory,
    state_dir: &Path,
) -> Result<Vec<LookAlike>, String> {
    let mut found = Vec::new();
    let told = |what: &str, error: io::Error| format!("{what}: {error}");
    let (sys, proc) = (&trees.sys, &trees.proc);
    blocks(sys, inventory, state_dir, &mut found).map_err(|error| told("block devices", error))?;
    links(sys, inventory, &mut found).map_err(|error| told("interfaces", error))?;
    processes(proc, inventory, &mut found).map_err(|error| told("processes", error))?;
    Ok(found)
}

/// dm devices called `banger-…`, and loops over files of the state directory.
fn blocks(
    sys: &Path,
    inventory: &Inventory,
    state_dir: &Path,
    found: &mut Vec<LookAlike>,
) -> io::Result<()> {
    let ours: BTreeSet<&str> = match &inventory.dms {
        Probe::Known(dms) => dms.iter().map(|dm| dm.name.as_str()).collect(),
        Probe::Unknown(_) => BTreeSet::new(),
    };
    let loops: BTreeSet<String> = match &inventory.loops {
        Probe::Known(loops) => loops.iter().map(|it| it.device.path()).collect(),
        Probe::Unknown(_) => BTreeSet::new(),
    };
    for device in names(&sys.join("block"))? {
        let block = sys.join("block").join(&device);
        if let Some(name) = text(&block.join("dm/name"))
            && name.starts_with("banger-")
            && !ours.contains(name.as_str())
        {
            let uuid = text(&block.join("dm/uuid")).unwrap_or_default();
            // Ours, but in a section that could not be read.
            if !uuid.starts_with("BANGER-") {
                let why = format!("its dm UUID is `{uuid}`");
                found.push(look_alike(Object::Dm, name, why));
            }
        }
        if let Some(file) = text(&block.join("loop/backing_file"))
            && Path::new(&file).starts_with(state_dir)
            && matches!(inventory.loops, Probe::Known(_))
        {
            let path = format!("/dev/{device}");
            if !loops.contains(&path) {
                let why = format!("it lies over {file}, but carries no tag of banger's");
                found.push(look_alike(Object::Loop, path, why));
            }
        }
    }
    Ok(())
}

/// What the alias of a warm tap is.
const WARM: &str = "pool";

/// Interfaces with names like our taps' and no VM in their alias.
fn links(sys: &Path, inventory: &Inventory, found: &mut Vec<LookAlike>) -> io::Result<()> {
    let Probe::Known(taps) = &inventory.taps else {
        return Ok(());
    };
    for name in names(&sys.join("class/net"))? {
        let numbered = |prefix| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let listed = taps.iter().any(|tap| tap.name == name);
        // Warm taps are capacity. Only root can set an alias.
        let warm = || {
            let alias = fs::read_to_string(sys.join("class/net").join(&name).join("ifalias"));
            alias.is_ok_and(|alias| alias.trim_end() == WARM)
        };
        if (numbered("bgr") || numbered("tap-pool-")) && !listed && !warm() {
            let why = "its alias names no VM".to_owned();
            found.push(look_alike(Object::Tap, name, why));
        }
    }
    Ok(())
}

/// Firecrackers with an `--id` that run in no unit of ours.
fn processes(proc: &Path, inventory: &Inventory, found: &mut Vec<LookAlike>) -> io::Result<()> {
    let Probe::Known(vmms) = &inventory.vmms else {
        return Ok(());
    };
    for pid in names(proc)? {
        let Ok(number) = pid.parse::<u32>() else {
            continue;
        };
        // One that has just ended, or that isn't shown to us, is none of our business.
        let Ok(line) = fs::read(proc.join(&pid).join("cmdline")) else {
            continue;
        };
        let words: Vec<String> = line
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let program = Path::new(&words[0]).file_name().unwrap_or_default();
        let is_firecracker = program.to_string_lossy().contains("firecracker");
        let id = words.iter().position(|word| word == "--id");
        let id = id.and_then(|at| words.get(at + 1));
        let ours = vmms
            .iter()
            .any(|vmm| vmm.process.is_some_and(|process| process.pid == number));
        if let (true, Some(id), false) = (is_firecracker, id, ours) {
            found.push(look_alike(
                Object::Vmm,
                format!("{} --id {id} (pid {number})", program.to_string_lossy()),
                "it runs in no unit of banger's".to_owned(),
            ));
        }
    }
    Ok(())
}

fn look_alike(object: Object, name: String, why: String) -> LookAlike {
    LookAlike { object, name, why }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// A file of one line.
fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use banger_core::inventory::Object;
    use banger_protocol::inventory::{Probe, Process, Tap, Vmm};
    use banger_protocol::{Inventory, VmUid};

    use super::{Trees, read};

    const UID: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f";

    fn inventory(uid: VmUid) -> Inventory {
        Inventory {
            boot_id: "b".into(),
            vmms: Probe::Known(vec![Vmm {
                uid,
                process: Some(Process {
                    pid: 100,
                    start_time: 1,
                }),
                executable: None,
                exit: None,
                jail: true,
            }]),
            taps: Probe::Known(vec![Tap {
                name: "bgr1".into(),
                uid: Some(uid),
                ifindex: 3,
                attached: true,
            }]),
            pool: None,
            loops: Probe::Known(vec![]),
            dms: Probe::Known(vec![]),
            bridge: Probe::Known(true),
            nat: Probe::Known(None),
            policy: None,
            ipv6: None,
            obstacles: None,
            legacy_tables: None,
        }
    }

    #[test]
    fn decoys_are_told_apart_from_what_is_ours() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/block/dm-0/dm/name", "banger-x\n");
        put("sys/block/dm-0/dm/uuid", "LVM-foreign\n");
        put("sys/block/dm-1/dm/name", &format!("banger-{UID}-root\n"));
        put("sys/block/dm-1/dm/uuid", &format!("BANGER-{UID}-root\n"));
        put(
            "sys/block/loop3/loop/backing_file",
            "/var/lib/banger/vms/x\n",
        );
        put("sys/block/loop4/loop/backing_file", "/srv/other.img\n");
        put("sys/class/net/bgr1/ifindex", "3");
        put("sys/class/net/bgr9/ifindex", "4");
        put("sys/class/net/tap-pool-1/ifindex", "5");
        put("sys/class/net/tap-pool-2/ifalias", "pool\n");
        put("sys/class/net/bgrille/ifindex", "6");
        put("proc/100/cmdline", &format!("/firecracker\0--id\0{UID}\0"));
        put("proc/200/cmdline", "/opt/my-firecracker\0--id\0mine\0");
        put("proc/300/cmdline", "vim\0firecracker\0--id\0");
        put("proc/self/cmdline", "x");
        let trees = Trees {
            sys: root.path().join("sys"),
            proc: root.path().join("proc"),
        };
        let uid: VmUid = UID.parse().unwrap();
        let found = read(&trees, &inventory(uid), "/var/lib/banger".as_ref()).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|it| (it.object, it.name.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (Object::Dm, "banger-x"),
                (Object::Loop, "/dev/loop3"),
                (Object::Tap, "bgr9"),
                (Object::Tap, "tap-pool-1"),
                (Object::Vmm, "my-firecracker --id mine (pid 200)"),
            ]
        );
        assert!(found[0].why.contains("LVM-foreign"));
    }
}
