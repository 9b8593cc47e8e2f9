//! Chaos: a seeded sequence of edits, with kills of the daemon, the helper and
//! a VMM, or a power cut, in the middle of each.
//!
//! After every round the host must come to rest with exactly what the files
//! say: an empty diff, no object too many or too few, every marker that a
//! guest was told to keep still there, every file system as whole as a power cut
//! would leave it, the database whole, and what isn't banger's untouched. At the end
//! guests shut down, and nothing is left to repair.

mod disks;
mod draw;

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{Lab, Options, decoys, shell::quote};
use draw::{Blow, Draw};

/// How long the host may take to come to rest: two guests boot at once, under
/// software emulation, on a busy machine.
const REST: Duration = Duration::from_secs(400);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Kills, up to four a round.
    pub kills: u32,
    /// Power cuts, spread among them; each ends its round.
    pub cuts: u32,
    /// What the sequence follows from.
    pub seed: u64,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, cuts, seed } = self;
        write!(f, "chaos ({kills} kills, {cuts} power cuts, seed {seed})")
    }
}

/// What the host of a chaos needs: its disk must be true after a power cut.
#[must_use]
pub fn options() -> Options {
    Options {
        durable: true,
        // It takes hours, beside other work: a slow boot is no finding.
        boot_limit: Duration::from_secs(300),
        ..Options::default()
    }
}

/// The VMs as the files say.
struct Wanted {
    label: u32,
    nat: bool,
    vcpus: u8,
    guest_c: bool,
    /// How many markers each of [`VMS`] was given.
    markers: [u32; 3],
    /// The uid that each had first; c comes and goes, and is the same VM.
    uids: [Option<String>; 3],
}

/// The VMs, and where each keeps its markers.
const VMS: [(&str, &str); 3] = [("a", "/var /root"), ("b", "/var"), ("c", "/var")];

/// Runs it on a saved lab that was gone on with as [`options`] say. `say` gets a
/// line per round.
///
/// # Errors
/// Something was lost, left over or didn't come to rest; or the host's own
/// kernel died, which [`Lab::host`]'s `crashed` tells.
pub fn run(lab: &mut Lab, measure: Measure, say: &dyn Fn(&str)) -> Result<()> {
    lab.owner("banger delete --yes vm/web vm/worker")?;
    let mut draw = Draw::new(measure);
    let mut wanted = Wanted {
        label: 0,
        nat: true,
        vcpus: 1,
        guest_c: false,
        markers: [0; 3],
        uids: [const { None }; 3],
    };
    write(lab, &wanted)?;
    rest(lab, &wanted)?;
    keep_and_mark(lab, &mut wanted)?;
    let image = lab.field("a", ".status.imageDigest")?;
    let image = image.trim_start_matches("sha256:").to_owned();
    let mut round = 0;
    while let Some(turn) = draw.next() {
        round += 1;
        say(&format!("round {round}: {turn}"));
        turn.edit.apply(&mut wanted);
        write(lab, &wanted)?;
        for (pause, blow) in &turn.blows {
            strike(lab, &wanted, &format!("sleep {pause}"), *blow)
                .with_context(|| format!("round {round} ({turn})"))?;
        }
        let context = || format!("round {round} ({turn}), seed {}", measure.seed);
        rest(lab, &wanted).with_context(context)?;
        exact(lab, &wanted).with_context(context)?;
        keep_and_mark(lab, &mut wanted).with_context(context)?;
        for uid in wanted.uids() {
            disks::are_whole(lab, uid, &image).with_context(context)?;
        }
        disks::database_is_whole(lab).with_context(context)?;
        decoys::untouched(&lab.host).with_context(context)?;
    }
    say("the end: every guest shuts down");
    lab.owner("banger get vms -o name | cut -d / -f 2 | xargs -n 1 banger vm stop")?;
    for uid in wanted.uids() {
        disks::are_clean(lab, uid, &image)?;
    }
    lab.owner("banger delete --yes vm/a vm/b $(banger get vms -o name | grep -x vm/c)")?;
    let left = count(lab)?;
    ensure!(
        left == Counts::default(),
        "left after the last deletion: {left:?}"
    );
    decoys::untouched(&lab.host)
}

fn strike(lab: &mut Lab, wanted: &Wanted, pause: &str, blow: Blow) -> Result<()> {
    match blow {
        Blow::Daemon => kill(lab, pause, "bangerd.service"),
        Blow::Helper => {
            // Nobody may have needed it since the last kill.
            let pause = format!("{pause}; systemctl start banger-helper");
            kill(lab, &pause, "banger-helper.service")
        }
        Blow::Vmm(name) => {
            let uid = wanted.uid_of(name).context("it never ran")?;
            kill(lab, pause, &format!("banger-vm-{uid}.service"))
        }
        Blow::PowerCut => {
            decoys::untouched(&lab.host)?;
            lab.root(pause)?;
            lab.host.reset()?;
            decoys::plant(&lab.host)?;
            // An edit that wasn't on the disk yet may be half of one now: its VM
            // is held, and whoever wrote the file writes it again.
            write(lab, wanted)
        }
    }
}

impl Wanted {
    fn uid_of(&self, name: &str) -> Option<&str> {
        let place = VMS.iter().position(|(vm, _)| *vm == name)?;
        self.uids[place].as_deref()
    }

    /// Of those that run.
    fn uids(&self) -> impl Iterator<Item = &str> {
        running(self)
            .into_iter()
            .filter_map(|name| self.uid_of(name))
    }
}

/// Kills the main process of a unit, and sees it dead. A VMM may be between two
/// lives: then it is the next one's turn, so that each kill is one.
fn kill(lab: &Lab, pause: &str, unit: &str) -> Result<()> {
    lab.root(&format!(
        "{pause}; main() {{ systemctl show -P MainPID {unit}; }}; \
         for _ in $(seq 600); do pid=$(main); [ \"$pid\" = 0 ] || break; sleep 0.1; done; \
         [ \"$pid\" != 0 ] && kill -KILL $pid || exit 1; \
         for _ in $(seq 100); do [ \"$(main)\" = $pid ] || exit 0; sleep 0.1; done; exit 1"
    ))
    .with_context(|| format!("{unit} was not killed"))?;
    Ok(())
}

/// Writes the files as they are wanted, those that differ.
fn write(lab: &Lab, wanted: &Wanted) -> Result<()> {
    let Wanted {
        label, nat, vcpus, ..
    } = wanted;
    let a = Lab::document(
        "a",
        &format!("network: {{nat: {nat}}}\nworkDisk: {{size: 64Mi}}"),
    )
    .replace(
        "{name: a}",
        &format!("{{name: a, labels: {{round: \"{label}\"}}}}"),
    );
    let b = Lab::document("b", &format!("vcpus: {vcpus}\nupdatePolicy: Auto"));
    let c = Lab::document("c", "");
    lab.write_vm("a.yaml", &a)?;
    lab.write_vm("b.yaml", &b)?;
    if wanted.guest_c {
        lab.write_vm("c.yaml", &c)
    } else {
        lab.owner("rm -f ~/.config/banger/vms/c.yaml")?;
        Ok(())
    }
}

fn running(wanted: &Wanted) -> Vec<&'static str> {
    let mut names = vec!["a", "b"];
    names.extend(wanted.guest_c.then_some("c"));
    names
}

/// Waits until the host is as the files say, and nothing more is planned.
fn rest(lab: &Lab, wanted: &Wanted) -> Result<()> {
    let label = wanted.label;
    let vcpus = wanted.vcpus;
    let nat = wanted.nat;
    let ready = running(wanted)
        .iter()
        .map(|name| {
            format!(
                "(.items[] | select(.metadata.name == \"{name}\") | .status.phase == \"Ready\")"
            )
        })
        .collect::<Vec<_>>()
        .join(" and ");
    let a = format!(
        "(.items[] | select(.metadata.name == \"a\") | .metadata.labels.round == \"{label}\" and .spec.network.nat == {nat})"
    );
    let b = format!("(.items[] | select(.metadata.name == \"b\") | .spec.vcpus == {vcpus})");
    let number = running(wanted).len();
    let query = format!("(.items | length) == {number} and {a} and {b} and {ready}");
    // A VMM that was killed a moment ago may still be shown: each that is must live.
    let line = format!(
        "vms=$(su owner -c 'banger get vms -o json' 2>/dev/null) && \
         jq -e {} <<<\"$vms\" >/dev/null && \
         jq '.items[].status.handles.pid' <<<\"$vms\" | xargs -n 1 kill -0 2>/dev/null && \
         su owner -c 'banger diff' >/dev/null 2>&1",
        quote(&query)
    );
    lab.until("the host comes to rest", &line, REST)
        .with_context(|| {
            running(wanted)
                .iter()
                .map(|name| lab.story(name))
                .collect::<String>()
        })
}

/// Each VM is the one that it was, and every marker is still there; then one more,
/// through to the disk. In one login: what a guest does is quick, its logins aren't.
fn keep_and_mark(lab: &Lab, wanted: &mut Wanted) -> Result<()> {
    let there = running(wanted).len();
    for (place, (name, directories)) in VMS.iter().enumerate().take(there) {
        let uid = lab.field(name, ".metadata.uid")?;
        let first = wanted.uids[place].get_or_insert_with(|| uid.clone());
        ensure!(*first == uid, "{name} was {first} and is {uid}");
        let before = wanted.markers[place];
        let next = before + 1;
        let line = format!(
            "for dir in {directories}; do for n in $(seq {before}); do \
               [ -e $dir/marker-$n ] || {{ echo \"$dir/marker-$n is lost\"; exit 1; }}; \
             done; touch $dir/marker-{next}; done; sync"
        );
        lab.guest(name, &line)
            .with_context(|| format!("the markers of {name}"))?;
        wanted.markers[place] = next;
    }
    Ok(())
}

/// What the host holds beside the decoys and what isn't a VM's.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    taps: usize,
    cow_loops: usize,
    work_loops: usize,
    base_loops: usize,
    dms: usize,
    processes: usize,
    units: usize,
    jails: usize,
    directories: usize,
}

fn count(lab: &Lab) -> Result<Counts> {
    let inventory = lab.inventory()?;
    let of = |prefix: &str, with: &str| {
        inventory
            .0
            .iter()
            .filter(|line| line.starts_with(prefix) && line.contains(with))
            .count()
    };
    let taps = lab.root(
        "ip -d -j link show type tun \
         | jq '[.[] | select(.ifalias != \"foreign\" and .ifalias != \"pool\")] | length'",
    )?;
    Ok(Counts {
        taps: taps.trim().parse().context("ip's answer is no number")?,
        cow_loops: of("loop ", "root.cow"),
        work_loops: of("loop ", "work.ext4"),
        base_loops: of("loop ", "/images/"),
        dms: of("dm ", "banger-"),
        processes: of("process ", ""),
        units: of("unit ", ""),
        jails: of("jail ", ""),
        directories: of("vm ", ""),
    })
}

/// The inventory is that of the VMs that are wanted, and of nothing else.
fn exact(lab: &Lab, wanted: &Wanted) -> Result<()> {
    let vms = running(wanted).len();
    let expected = Counts {
        taps: vms,
        cow_loops: vms,
        work_loops: 1,
        base_loops: vms,
        dms: 2 * vms,
        processes: vms,
        units: vms,
        jails: vms,
        directories: vms,
    };
    let found = count(lab)?;
    ensure!(
        found == expected,
        "found {found:?}, expected {expected:?}: {:?}",
        lab.inventory()?
    );
    let list = lab.owner("banger doctor --inventory")?;
    ensure!(list.contains("0 unowned, 0 missing"), "{list}");
    Ok(())
}
