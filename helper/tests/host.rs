//! The operations that need device-mapper and systemd, under the shipped units,
//! on the disposable host: a jailed Firecracker from nothing to gone.
//! Ignored unless asked for: `cargo nextest run -p banger-helper --run-ignored all`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use banger_e2e::{Options, TestHost, User, scenario};
use banger_protocol::install::{Install, SUBNET};
use serde_json::{Value, json};

const UID: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f";
/// The units as `banger system install` fills them in, and the owner's disks.
const SET_UP: &str = r#"
set -eu
install -D -m 755 -t /usr/lib/banger /payload/banger-helper /payload/call /images/firecracker /images/jailer
for unit in banger.slice banger-helper.socket banger-helper.service; do
  sed 's,@OWNER@,owner,; s,@LIBDIR@,/usr/lib/banger,' /payload/$unit > /etc/systemd/system/$unit
done
sed 's,@STATEDIR@,/var/lib/banger,' /payload/11-banger.rules > /etc/udev/rules.d/11-banger.rules
udevadm control --reload
install -D -m 644 /payload/install.toml /etc/banger/install.toml
install -d -o owner -g owner -m 700 /var/lib/banger
systemctl daemon-reload
systemctl enable --now banger-helper.socket
"#;
const DISKS: &str = "cd /var/lib/banger && cp /images/debian-12.ext4 base && truncate -s 1G cow work \
     && echo kernel > kernel && echo initrd > initrd";
#[test]
#[ignore = "boots a host"]
fn a_vmm_from_nothing_to_gone() {
    let here = tempfile::tempdir().unwrap();
    payload(here.path());
    let options = Options {
        payload: Some(here.path().to_path_buf()),
        ..Options::default()
    };
    scenario("helper", &options, |host| life(host)).unwrap();
}

fn payload(into: &Path) {
    let helper = Path::new(env!("CARGO_BIN_EXE_banger-helper"));
    let call = helper.with_file_name("examples").join("call");
    let units = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    for file in [helper, &call] {
        fs::copy(file, into.join(file.file_name().unwrap())).unwrap();
    }
    for entry in fs::read_dir(units).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), into.join(entry.file_name())).unwrap();
    }
    let text = toml::to_string(&Install::of("owner", 1000, 1000, SUBNET)).unwrap();
    fs::write(into.join("install.toml"), text).unwrap();
    fs::write(into.join("lvm"), lvm()).unwrap();
}

/// One request as the owner, in the state directory.
fn ask(host: &TestHost, request: Value, files: &str) -> anyhow::Result<Value> {
    let line = format!(
        "cd /var/lib/banger && /usr/lib/banger/call /run/banger/helper.sock '{request}' {files}"
    );
    let output = host.exec(User::Owner, &line)?;
    serde_json::from_str(&output.stdout).with_context(|| format!("{request}: {}", output.stderr))
}

fn changed(host: &TestHost, request: Value, files: &str) -> anyhow::Result<Value> {
    let answer = ask(host, request.clone(), files)?;
    ensure!(answer["result"] == "changed", "{request}: {answer}");
    let again = ask(host, request.clone(), files)?;
    ensure!(again["result"] == "unchanged", "again {request}: {again}");
    Ok(answer["handle"].clone())
}

/// The step of a refusal.
fn refused(host: &TestHost, request: Value, files: &str) -> anyhow::Result<String> {
    let answer = ask(host, request.clone(), files)?;
    ensure!(answer["result"] == "error", "{request}: {answer}");
    Ok(answer["error"]["step"].as_str().unwrap_or("").to_owned())
}

fn inventory(host: &TestHost) -> anyhow::Result<Value> {
    Ok(ask(host, json!({"op": "inventory"}), "")?["inventory"].clone())
}

fn life(host: &TestHost) -> anyhow::Result<()> {
    let root = |script: &str| host.exec(User::Root, script)?.ok();
    let owner = |script: &str| host.exec(User::Owner, script)?.ok();
    root(SET_UP)?;
    owner(DISKS)?;
    let knock = r#"/usr/lib/banger/call /run/banger/helper.sock '{"op":"inventory"}'"#;
    let stranger = host.exec(User::Stranger, knock)?;
    ensure!(
        stranger.stderr.contains("Permission denied"),
        "{}",
        stranger.stderr
    );

    changed(host, json!({"op": "ensure-bridge"}), "")?;
    changed(host, json!({"op": "ensure-nat", "guests": [1]}), "")?;
    let before = inventory(host)?;
    ensure!(before["nat"]["known"] == json!([1]), "{before}");
    ensure!(before["vmms"]["known"] == json!([]) && before["dms"]["known"] == json!([]));
    full(host)?;
    let (base, cow) = disks(host)?;
    let started = start(host)?;
    ensure!(owner(&api("version"))?.contains("1.12"));
    for (path, body) in devices() {
        let put = format!("{} -X PUT -d '{body}' -w '%{{http_code}}'", api(path));
        let answer = owner(&put)?;
        ensure!(answer == "204", "{path}: {answer}");
    }

    // The VMM outlives its helper, and a new helper knows it.
    root("systemctl kill --kill-whom=main -s KILL banger-helper.service")?;
    let seen = inventory(host)?;
    ensure!(
        seen["vmms"]["known"][0]["process"] == started["vmm"],
        "{seen}"
    );
    ensure!(
        seen["dms"]["known"]
            .as_array()
            .is_some_and(|d| d.len() == 2),
        "{seen}"
    );

    // While it runs nothing below it goes.
    ensure!(refused(host, vm("remove-vmm"), "")? == "unit");
    ensure!(refused(host, vm("remove-dm"), "")? == "dmsetup");
    let remove_loop = |role, device: u64| json!({"op": "remove-loop", "uid": UID, "role": role, "device": device});
    ensure!(refused(host, remove_loop("cow", cow), "")? == "LOOP_CLR_FD");
    nothing_probed(host)?;

    changed(host, vm("kill-vmm"), "")?;
    let killed = inventory(host)?;
    let exit = json!({"result": "signal", "status": 9});
    ensure!(killed["vmms"]["known"][0]["exit"] == exit, "{killed}");
    changed(host, vm("remove-vmm"), "")?;
    changed(host, vm("remove-dm"), "")?;
    changed(host, remove_loop("cow", cow), "")?;
    changed(host, remove_loop("base", base), "")?;
    changed(host, json!({"op": "remove-tap", "uid": UID, "slot": 1}), "")?;
    let after = inventory(host)?;
    ensure!(after == before, "{after}\nbefore: {before}");
    let left = root(
        "find /run/banger/vms /var/lib/banger-helper/jail/firecracker -mindepth 1; losetup -a; \
         systemctl list-units --all --plain --no-legend 'banger-vm-*'",
    )?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

fn vm(op: &str) -> Value {
    json!({"op": op, "uid": UID})
}

fn disks(host: &TestHost) -> anyhow::Result<(u64, u64)> {
    changed(host, json!({"op": "ensure-tap", "uid": UID, "slot": 1}), "")?;
    let number = |role: &str, file: &str| -> anyhow::Result<u64> {
        let request = json!({"op": "ensure-loop", "uid": UID, "role": role});
        let handle = changed(host, request, file)?;
        handle["loop"].as_u64().context("no loop number")
    };
    let (base, cow) = (number("base", "r:base")?, number("cow", "rw:cow")?);
    let dm = |base: u64, cow: u64, size: u64| json!({"op": "ensure-dm", "uid": UID, "base": base, "cow": cow, "size": size});
    let size = 2 << 21;
    ensure!(refused(host, dm(cow, base, size), "")? == "tag");
    ensure!(refused(host, dm(base, cow, 8), "")? == "size");
    // A foreign device in the way is refused and stays.
    let foreign = format!("banger-{UID}-origin");
    let create = format!("echo 0 8 zero | dmsetup create {foreign}");
    host.exec(User::Root, &create)?.ok()?;
    ensure!(refused(host, dm(base, cow, size), "")? == "dm UUID");
    let remove = format!("dmsetup table {foreign} | grep -q zero && dmsetup remove {foreign}");
    host.exec(User::Root, &remove)?.ok()?;

    changed(host, dm(base, cow, size), "")?;
    ensure!(refused(host, dm(base, cow, size + 8), "")? == "dm table");
    Ok((base, cow))
}

/// A guest that writes each chunk of its root disk doesn't overflow the store that
/// the daemon makes for it, which the kernel alone can prove; in a shorter one it
/// would, and that is seen.
fn full(host: &TestHost) -> anyhow::Result<()> {
    const OTHER: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c073990";
    const MIB: u64 = 64;
    /// `cow_length` of so large a root disk, in MiB (reconciler/src/act/root_disk.rs).
    const STORE: u64 = 65;
    let root = |script: &str| host.exec(User::Root, script);
    let device = format!("/dev/mapper/banger-{OTHER}-root");
    for (store, holds) in [(STORE, true), (MIB / 2, false)] {
        let make = format!(
            "cd /var/lib/banger && truncate -s {MIB}M whole && rm -f store && truncate -s {store}M store"
        );
        host.exec(User::Owner, &make)?.ok()?;
        let attach = |role: &str, file: &str| -> anyhow::Result<u64> {
            let request = json!({"op": "ensure-loop", "uid": OTHER, "role": role});
            let handle = changed(host, request, file)?;
            handle["loop"].as_u64().context("no loop number")
        };
        let loops = [
            ("cow", attach("cow", "rw:store")?),
            ("base", attach("base", "r:whole")?),
        ];
        let [(_, cow), (_, base)] = loops;
        let size = MIB << 11;
        let dm = json!({"op": "ensure-dm", "uid": OTHER, "base": base, "cow": cow, "size": size});
        changed(host, dm, "")?;

        let pattern = format!("tr '\\0' x </dev/zero | head -c {MIB}M");
        let written = root(&format!(
            "{pattern} | dd of={device} bs=1M iflag=fullblock conv=fsync status=none"
        ))?;
        let status = root(&format!("dmsetup status {device}"))?.ok()?;
        let lost = ["Overflow", "Invalid"].iter().any(|it| status.contains(it));
        ensure!(lost != holds, "a store of {store} MiB: {status}");
        ensure!((written.status == 0) == holds, "{store} MiB: {written:?}");
        let seen = inventory(host)?;
        let told = seen["dms"]["known"].as_array().into_iter().flatten();
        let told = told
            .filter(|dm| dm["part"] == "root")
            .map(|dm| dm["overflow"] == true);
        ensure!(told.collect::<Vec<_>>() == [!holds], "{seen}");
        if holds {
            root(&format!("{pattern} | cmp - {device}"))?.ok()?;
        }
        changed(host, json!({"op": "remove-dm", "uid": OTHER}), "")?;
        for (role, device) in loops {
            let gone = json!({"op": "remove-loop", "uid": OTHER, "role": role, "device": device});
            changed(host, gone, "")?;
        }
    }
    Ok(())
}

fn start(host: &TestHost) -> anyhow::Result<Value> {
    let mut request = json!({
        "op": "start-vmm", "uid": UID, "slot": 1, "memoryMib": 256, "vcpus": 1, "workDisk": true
    });
    let files = "r:kernel r:initrd a:serial.log";
    ensure!(refused(host, request.clone(), files)? == "loop");
    request["workDisk"] = json!(false);
    ensure!(refused(host, request.clone(), "r:kernel r:initrd rw:serial.log")? == "descriptor");
    let handle = changed(host, request, files)?;
    // The socket is there once Firecracker listens, a moment after its exec.
    let socket = format!("/run/banger/vms/{UID}/fc.sock");
    let wait = format!("timeout 20 sh -c 'until [ -S {socket} ]; do sleep 0.1; done'");
    host.exec(User::Owner, &wait)?.ok()?;
    Ok(handle)
}

fn api(path: &str) -> String {
    format!("curl -sS --unix-socket /run/banger/vms/{UID}/fc.sock http://localhost/{path}")
}

/// What Firecracker opens while it is told of it.
fn devices() -> [(&'static str, Value); 4] {
    [
        (
            "drives/root",
            json!({"drive_id": "root", "path_on_host": "/rootdrive", "is_root_device": true,
                   "is_read_only": false, "cache_type": "Writeback"}),
        ),
        (
            "network-interfaces/eth0",
            json!({"iface_id": "eth0", "host_dev_name": "bgr1"}),
        ),
        ("vsock", json!({"guest_cid": 3, "uds_path": "/s/v.sock"})),
        ("metrics", json!({"metrics_path": "/s/metrics"})),
    ]
}

/// udev believes nothing that a guest wrote: neither on a disk that it has in
/// whole nor on the snapshot of an image. The same bytes on a disk of nobody's
/// are believed.
fn nothing_probed(host: &TestHost) -> anyhow::Result<()> {
    let root = |script: &str| host.exec(User::Root, script)?.ok();
    let plant = |to: &str| {
        format!(
            "dd if=/dev/zero of={to} bs=64K count=16 conv=notrunc,fsync status=none && \
             dd if=/payload/lvm of={to} bs=1K count=1 conv=notrunc,fsync status=none"
        )
    };
    let known = |device: &str| {
        root(&format!(
            "udevadm trigger --action=change --settle {device} && \
             udevadm info -q property {device}"
        ))
    };
    root(&format!(
        "mkdir -p /srv/elsewhere && truncate -s 64M /srv/elsewhere/disk && {}",
        plant("/srv/elsewhere/disk")
    ))?;
    let elsewhere = root("losetup -f --show /srv/elsewhere/disk")?;
    let believed = known(elsewhere.trim())?;
    ensure!(
        believed.contains("ID_FS_TYPE=LVM2_member"),
        "udev doesn't know the planted header: {believed}"
    );
    root(&format!("losetup -d {elsewhere}"))?;

    host.exec(
        User::Owner,
        &format!("cd /var/lib/banger && {}", plant("work")),
    )?
    .ok()?;
    let attach = json!({"op": "ensure-loop", "uid": UID, "role": "work"});
    let work = changed(host, attach, "rw:work")?["loop"]
        .as_u64()
        .context("no loop number")?;
    // As the guest would, through the snapshot.
    let snapshot = root(&format!("readlink -f /dev/mapper/banger-{UID}-root"))?;
    let snapshot = snapshot.trim();
    root(&plant(snapshot))?;
    for device in [&*format!("/dev/loop{work}"), snapshot] {
        let head = root(&format!("head -c 520 {device} | tail -c 8"))?;
        ensure!(head == "LABELONE", "{device} has no header");
        let told = known(device)?;
        ensure!(told.contains("UDISKS_IGNORE=1"), "{device}: {told}");
        ensure!(!told.contains("ID_FS_"), "{device}: {told}");
    }
    let list = "for d in /dev/loop[0-9]* /dev/dm-*; do udevadm info $d; done";
    let all = root(list)?;
    ensure!(!all.contains("ID_FS_"), "{all}");
    let gone = json!({"op": "remove-loop", "uid": UID, "role": "work", "device": work});
    changed(host, gone, "")?;
    Ok(())
}

/// The first KiB of an LVM physical volume: the label in sector 1, and what
/// follows it (lib/format_text/layout.h of LVM2: `label_header`, `pv_header`).
fn lvm() -> Vec<u8> {
    const SECTOR: usize = 512;
    let mut label = [0; SECTOR];
    label[..8].copy_from_slice(b"LABELONE");
    label[8] = 1; // the sector that it is in
    label[20] = 32; // where the header begins
    label[24..32].copy_from_slice(b"LVM2 001");
    label[32..64].copy_from_slice(b"bangerbangerbangerbangerbanger12");
    label[64..72].copy_from_slice(&(64_u64 << 20).to_le_bytes());
    // The CRC of everything behind it, from LVM's own first value.
    let mut crc = 0xf597_a6cf_u32;
    for byte in &label[20..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    label[16..20].copy_from_slice(&crc.to_le_bytes());
    [&[0; SECTOR], &label[..]].concat()
}

#[test]
fn the_planted_header_is_one() {
    let here = tempfile::tempdir().unwrap();
    let disk = here.path().join("disk");
    fs::write(&disk, lvm()).unwrap();
    fs::File::options()
        .write(true)
        .open(&disk)
        .unwrap()
        .set_len(4 << 20)
        .unwrap();
    let Ok(blkid) = std::process::Command::new("/sbin/blkid")
        .arg("-p")
        .arg(&disk)
        .output()
    else {
        return eprintln!("SKIPPED the_planted_header_is_one: /sbin/blkid is not there");
    };
    let said = String::from_utf8_lossy(&blkid.stdout);
    assert!(said.contains("TYPE=\"LVM2_member\""), "{blkid:?}");
}
