#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use banger_agent_protocol::{GuestConfig, GuestFile};
use proptest::prelude::*;
use tempfile::TempDir;

use super::block::replace;
use super::identity::{environment, hosts, machine_id, resolv_conf};
use super::{Root, authorize, public_host_keys, write_identity};

fn config() -> GuestConfig {
    GuestConfig {
        hostname: "web".into(),
        uid: "0198A6B2-7c3d-7e4f-8a9b-0c1d2e3f4a5b".into(),
        address: "172.30.0.5".parse().unwrap(),
        prefix: 24,
        gateway: "172.30.0.1".parse().unwrap(),
        ipv6: None,
        nameservers: vec!["172.30.0.1".parse().unwrap(), "1.1.1.1".parse().unwrap()],
        search: vec!["vm".into()],
        work_disk: false,
        authorized_keys: vec!["ssh-ed25519 AAAA me".into()],
        env: [("EDITOR".into(), "vi -p".into())].into(),
        files: vec![GuestFile::new("/opt/new/file", b"content", 0o640)],
        now_ns: 0,
    }
}

/// An image's root inside a directory that nothing may be written to.
struct Image {
    outside: TempDir,
    root: Root,
}

impl Image {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("root/etc")).unwrap();
        fs::create_dir(outside.path().join("etc")).unwrap();
        let root = Root::open(&outside.path().join("root")).unwrap();
        Self { outside, root }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.outside.path().join("root").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_identity_is_written() {
    let image = Image::new();
    write_identity(&image.root, &config()).unwrap();
    assert_eq!(image.text("etc/hostname"), "web\n");
    assert_eq!(
        image.text("etc/machine-id"),
        "0198a6b27c3d7e4f8a9b0c1d2e3f4a5b\n"
    );
    assert_eq!(mode(&image.path("etc/machine-id")), 0o444);
    assert!(image.text("etc/hosts").contains("172.30.0.5 web.vm web\n"));
    assert!(image.text("etc/environment").contains("EDITOR=\"vi -p\"\n"));
    assert_eq!(image.text("opt/new/file"), "content");
    assert_eq!(mode(&image.path("opt/new/file")), 0o640);
    // Once more, over what is there.
    write_identity(&image.root, &config()).unwrap();
    assert_eq!(image.text("etc/hosts").matches("web.vm").count(), 1);
}

#[test]
fn links_of_the_image_lead_nowhere_out() {
    let image = Image::new();
    let outside = image.outside.path();
    // A link in a file's place is replaced; links of directories stay inside.
    symlink("/run/resolve/stub.conf", image.path("etc/resolv.conf")).unwrap();
    symlink("../../../../tmp/hosts", image.path("etc/hosts")).unwrap();
    symlink(outside.join("etc"), image.path("opt")).unwrap();
    symlink("/../../..", image.path("root")).unwrap();
    write_identity(&image.root, &config()).unwrap_err();
    fs::remove_file(image.path("opt")).unwrap();
    symlink("/etc", image.path("opt")).unwrap();
    write_identity(&image.root, &config()).unwrap();
    assert_eq!(image.text("etc/new/file"), "content");
    authorize(&image.root, &config().authorized_keys).unwrap();
    assert!(image.text(".ssh/authorized_keys").contains("AAAA"));
    assert!(
        fs::symlink_metadata(image.path("etc/resolv.conf"))
            .unwrap()
            .is_file()
    );
    assert!(
        image
            .text("etc/resolv.conf")
            .contains("nameserver 172.30.0.1\n")
    );
    assert_eq!(fs::read_dir(outside.join("etc")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 2);
}

#[test]
fn a_path_with_dots_or_without_a_name_is_refused() {
    let image = Image::new();
    for path in ["/etc/../x", "/", "", "/a\0b"] {
        image.root.write(path, b"x", 0o644).unwrap_err();
    }
    image.root.write("/etc", b"x", 0o644).unwrap_err();
    assert!(image.path("etc").is_dir());
    assert_eq!(fs::read_dir(image.path("")).unwrap().count(), 1);
}

#[test]
fn what_is_not_a_file_is_not_read() {
    let image = Image::new();
    nix::unistd::mkfifo(&image.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(image.root.read("/fifo").is_err());
    assert!(image.root.read("/etc").is_err());
    assert_eq!(image.root.read("/nowhere/at/all").unwrap(), None);
    fs::write(image.path("long"), vec![0; (1 << 20) + 1]).unwrap();
    assert!(image.root.read("/long").is_err());
}

#[test]
fn keys_are_bangers_own_lines_and_others_stay() {
    let image = Image::new();
    fs::create_dir_all(image.path("root/.ssh")).unwrap();
    fs::write(
        image.path("root/.ssh/authorized_keys"),
        "ssh-rsa BBBB guest's own",
    )
    .unwrap();
    fs::set_permissions(image.path("root/.ssh"), fs::Permissions::from_mode(0o777)).unwrap();
    let keys = ["ssh-ed25519 AAAA me\n".to_owned(), " ".to_owned()];
    authorize(&image.root, &keys).unwrap();
    let text = image.text("root/.ssh/authorized_keys");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.starts_with("ssh-rsa BBBB guest's own\n# banger: begin"));
    assert_eq!(mode(&image.path("root/.ssh")), 0o700);
    assert_eq!(mode(&image.path("root/.ssh/authorized_keys")), 0o600);
    authorize(&image.root, &[]).unwrap();
    assert_eq!(
        image.text("root/.ssh/authorized_keys"),
        "ssh-rsa BBBB guest's own\n"
    );
}

#[test]
fn a_fresh_home_is_closed_and_an_old_one_stays_as_it_is() {
    let image = Image::new();
    fs::create_dir(image.path("root")).unwrap();
    fs::set_permissions(image.path("root"), fs::Permissions::from_mode(0o755)).unwrap();
    authorize(&image.root, &[]).unwrap();
    assert_eq!(mode(&image.path("root")), 0o700);
    fs::set_permissions(image.path("root"), fs::Permissions::from_mode(0o711)).unwrap();
    authorize(&image.root, &[]).unwrap();
    assert_eq!(mode(&image.path("root")), 0o711);
}

#[test]
fn public_keys_come_without_their_comments() {
    let image = Image::new();
    fs::create_dir(image.path("etc/ssh")).unwrap();
    let key = |kind: &str| image.path(&format!("etc/ssh/ssh_host_{kind}_key.pub"));
    fs::write(key("ed25519"), "ssh-ed25519 AAAA root@x\n").unwrap();
    fs::write(key("rsa"), "broken\n").unwrap();
    assert_eq!(public_host_keys(&image.root), ["ssh-ed25519 AAAA"]);
}

#[test]
fn localhost_is_said_once() {
    let debian = "127.0.0.1 localhost\n::1 localhost\n";
    let first = hosts(debian, &config());
    assert_eq!(first.matches("127.0.0.1 localhost").count(), 1);
    assert_eq!(hosts(&first, &config()), first);
    let empty = hosts("", &config());
    assert_eq!(empty.matches("127.0.0.1 localhost").count(), 1);
    assert_eq!(hosts(&empty, &config()), empty);
}

#[test]
fn the_resolver_is_told() {
    assert_eq!(
        resolv_conf(&config()),
        "# banger: rewritten at every boot\nnameserver 172.30.0.1\nnameserver 1.1.1.1\nsearch vm\n"
    );
}

#[test]
fn what_cannot_be_said_is_refused() {
    for uid in [
        "",
        "x",
        "00000000-0000-0000-0000-000000000000",
        "../../../etc/passwd",
    ] {
        machine_id(uid).unwrap_err();
    }
    for (name, value) in [("", "x"), ("1A", "x"), ("A B", "x"), ("A", "x\ny")] {
        let mut config = config();
        config.env = [(name.into(), value.into())].into();
        environment(&config).unwrap_err();
    }
}

proptest! {
    #[test]
    fn a_block_replaces_itself_only(
        lines in proptest::collection::vec("[a-z# ]{0,10}", 0..6),
        first in proptest::collection::vec("[a-z]{1,5}", 0..4),
        second in proptest::collection::vec("[a-z]{1,5}", 0..4),
    ) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let once = replace(&text, &second);
        prop_assert_eq!(replace(&replace(&text, &first), &second), once);
        prop_assert_eq!(replace(&replace(&text, &first), &[]), text);
    }

    #[test]
    fn any_text_keeps_its_other_lines(text in "(# banger: begin\n|# banger: end\n|[a-z]{0,3}\n){0,8}") {
        let _ = replace(&text, &["x".to_owned()]);
        let stray = "# banger: begin\nkept\n";
        prop_assert_eq!(replace(stray, &[]), "kept\n");
    }
}
