#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::parse::parse;
use crate::problem::Problem;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxQ5zU5l0Ut8DnTj0mbUsG2rPNbPGNPyYtjoIHIDPKU you@host";

fn check(text: &str) -> Result<Validated, Vec<Problem>> {
    let file = Path::new("/home/me/.config/banger/vms/web.yaml");
    let mut parsed = parse(file, text.as_bytes());
    assert_eq!(parsed.problems, vec![], "{text}");
    let ctx = Context {
        home: "/home/me".into(),
    };
    validate(file, parsed.documents.remove(0), &ctx)
}

fn vm(spec: &str) -> Result<Validated, Vec<Problem>> {
    check(&format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: web}}\nspec:\n  image: debian-12\n{spec}\n"
    ))
}

fn image(spec: &str) -> Result<Validated, Vec<Problem>> {
    check(&format!(
        "apiVersion: banger.dev/v1alpha1\nkind: Image\nmetadata: {{name: debian-12}}\nspec:\n{spec}\n"
    ))
}

fn fields(result: Result<Validated, Vec<Problem>>) -> Vec<(String, u32, u32)> {
    result
        .unwrap_err()
        .into_iter()
        .map(|problem| {
            let (line, column) = problem.at.unwrap();
            assert!(!problem.message.is_empty());
            assert!(problem.remedy.is_some_and(|remedy| !remedy.is_empty()));
            (problem.field.unwrap(), line, column)
        })
        .collect()
}

#[test]
fn all_problems_of_a_document_are_found_at_their_fields() {
    let found = fields(vm(
        "  vcpus: 33\n  memory: 63Mi\n  network:\n    ports:\n      - {host: 80, guest: 0}\n      - {host: 8080, guest: 80}\n      - {host: 8080, guest: 81}\n      - {host: 8080, guest: 82, protocol: udp, address: 224.0.0.1}",
    ));
    assert_eq!(
        found,
        [
            ("spec.vcpus".into(), 6, 10),
            ("spec.memory".into(), 7, 11),
            ("spec.network.ports[0].host".into(), 10, 16),
            ("spec.network.ports[0].guest".into(), 10, 27),
            ("spec.network.ports[2].host".into(), 12, 16),
            ("spec.network.ports[3].address".into(), 13, 57),
        ]
    );
}

#[test]
fn the_bounds_themselves_are_within() {
    for spec in [
        "  vcpus: 32\n  memory: 64Mi\n  rootDisk: {size: 2Ti}\n  workDisk: {size: 16Mi}\n  terminationGracePeriodSeconds: 3600",
        "  vcpus: 1\n  memory: 1Ti\n  rootDisk: {size: 64Mi}\n  terminationGracePeriodSeconds: 0",
        "  network: {ports: [{host: 1024, guest: 1, address: 127.0.0.1}, {host: 65535, guest: 65535}]}",
        "  network: {egress: {allow: [172.30.0.0/16]}, nat: false}",
        "  network: {egress: {allow: []}}",
        "  network: {egress: {allow: [0.0.0.0/0, 10.0.0.0/8, 192.0.2.7/32]}}",
        "  network: {ports: [{host: 53530, guest: 53, protocol: udp}, {host: 53530, guest: 53, address: 0.0.0.0}]}",
    ] {
        vm(spec).unwrap();
    }
    for spec in [
        "  vcpus: 0",
        "  memory: 1048577Mi",
        "  memory: 64000001",
        "  memory: 536870913",
        "  rootDisk: {size: 63Mi}",
        "  rootDisk: {size: 2097153Mi}",
        "  workDisk: {size: 15Mi}",
        "  terminationGracePeriodSeconds: 3601",
        "  network: {ports: [{host: 1023, guest: 1}]}",
        "  network: {ports: [{host: 8080, guest: 1, address: 255.255.255.255}]}",
        "  network: {egress: {allow: [10.0.0.1/8]}}",
    ] {
        assert_eq!(fields(vm(spec)).len(), 1, "{spec}");
    }
}

#[test]
fn an_egress_policy_has_a_bound() {
    let many = |n: usize| {
        let all: Vec<String> = (0..n).map(|n| format!("10.{n}.0.0/17")).collect();
        vm(&format!(
            "  network: {{egress: {{allow: [{}]}}}}",
            all.join(", ")
        ))
    };
    many(32).unwrap();
    let found: Vec<String> = fields(many(33))
        .into_iter()
        .map(|(field, ..)| field)
        .collect();
    assert_eq!(found, ["spec.network.egress.allow"]);
}

/// Of each list and each length: the bound is taken, and one more is refused once,
/// at its field, with the bound in the remedy.
#[test]
fn every_list_and_length_has_its_bound() {
    type Make = fn(usize) -> Result<Validated, Vec<Problem>>;
    let cases: [(&str, usize, Make, &str); 10] = [
        ("spec.network.ports", 64, ports, "64"),
        (
            "spec.sshAuthorizedKeys",
            64,
            |n| keys(&vec![KEY.len(); n]),
            "64",
        ),
        ("spec.sshAuthorizedKeys", 96 << 10, long_keys, "98304"),
        ("spec.env", 256, |n| env(n, 1), "256"),
        // Its name has four bytes.
        ("spec.env", 32 << 10, |n| env(1, n - 4), "32768"),
        (
            "metadata.labels",
            64,
            |n| labels((0..n).map(|n| (format!("l{n}"), "x".into()))),
            "64",
        ),
        (
            "metadata.labels.app",
            63,
            |n| labels([("app".into(), "x".repeat(n))]),
            "63",
        ),
        (
            "metadata.labels.",
            63,
            |n| labels([("x".repeat(n), "x".into())]),
            "63",
        ),
        (
            "metadata.labels.",
            253,
            |n| labels([(prefix(n) + "/app", "x".into())]),
            "DNS name",
        ),
        ("metadata.annotations", 256 << 10, note, "262144"),
    ];
    for (field, bound, make, remedy) in cases {
        if let Err(problems) = make(bound) {
            panic!("{field}, {bound}: {problems:?}");
        }
        let problems = make(bound + 1).unwrap_err();
        let [problem] = problems.as_slice() else {
            panic!("{field}, {bound} and one: {problems:?}")
        };
        let found = problem.field.as_deref().unwrap();
        let fits = found == field || field.ends_with('.') && found.starts_with(field);
        assert!(fits, "{field}: {problem:?}");
        assert!(
            problem.remedy.as_ref().unwrap().contains(remedy),
            "{problem:?}"
        );
    }
}

fn ports(count: usize) -> Result<Validated, Vec<Problem>> {
    let one = |n| format!("{{host: {}, guest: 80}}", 8000 + n);
    let all: Vec<String> = (0..count).map(one).collect();
    vm(&format!("  network: {{ports: [{}]}}", all.join(", ")))
}

/// Keys of these lengths: a key's comment is as long as it likes.
fn keys(lengths: &[usize]) -> Result<Validated, Vec<Problem>> {
    let key = |length: &usize| format!("\"{KEY}{}\"", "x".repeat(length - KEY.len()));
    let all: Vec<String> = lengths.iter().map(key).collect();
    vm(&format!("  sshAuthorizedKeys: [{}]", all.join(", ")))
}

/// So many bytes of keys, in four.
fn long_keys(bytes: usize) -> Result<Validated, Vec<Problem>> {
    let most = 24 << 10;
    keys(&[most, most, most, bytes - 3 * most])
}

/// So many variables, with names of four bytes.
fn env(count: usize, length: usize) -> Result<Validated, Vec<Problem>> {
    let value = "x".repeat(length);
    let all: Vec<String> = (0..count).map(|n| format!("V{n:03}: {value}")).collect();
    vm(&format!("  env: {{{}}}", all.join(", ")))
}

fn labelled(metadata: &str) -> Result<Validated, Vec<Problem>> {
    check(&format!(
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: web\n  \
         {metadata}\nspec: {{image: debian-12}}\n"
    ))
}

fn labels(all: impl IntoIterator<Item = (String, String)>) -> Result<Validated, Vec<Problem>> {
    let all = all
        .into_iter()
        .map(|(key, value)| format!("    {key}: {value}\n"));
    labelled(&format!("labels:\n{}", all.collect::<String>()))
}

/// A DNS name of so many bytes.
fn prefix(length: usize) -> String {
    let mut name = "a123456789".repeat(6);
    name.push('.');
    name.repeat(5)[..length].to_owned()
}

/// Annotations of so many bytes, keys among them.
fn note(bytes: usize) -> Result<Validated, Vec<Problem>> {
    let value = "x".repeat((bytes - 4 * 2) / 4);
    let rest = "x".repeat(bytes - 4 * 2 - 3 * value.len());
    labelled(&format!(
        "annotations:\n    n1: {value}\n    n2: {value}\n    n3: {value}\n    n4: {rest}"
    ))
}

#[test]
fn a_path_is_as_long_as_linux_takes() {
    let home = "/home/me/";
    let path = |length: usize| {
        let rest = "x".repeat(length - home.len());
        image(&format!("  rootfs: {{disk: {{path: ~/{rest}}}}}"))
    };
    path(4095).unwrap();
    let [problem]: [Problem; 1] = path(4096).unwrap_err().try_into().unwrap();
    assert_eq!(problem.field.as_deref(), Some("spec.rootfs.disk.path"));
    assert!(problem.remedy.unwrap().contains("4095"));
    // And in a guest.
    let file = |length: usize| {
        let rest = "x".repeat(length - 1);
        vm(&format!("  fileSync: [{{source: ~/a, path: /{rest}}}]"))
    };
    file(4095).unwrap();
    assert_eq!(fields(file(4096))[0].0, "spec.fileSync[0].path");
}

#[test]
fn files_come_from_the_home_and_go_where_nothing_else_is() {
    let files = |list: &str| vm(&format!("  fileSync: [{list}]"));
    files("{source: ~/.gitconfig, path: /root/.gitconfig}, {source: \"~/a b/c\", path: /opt/x}")
        .unwrap();
    files("{source: ~/a, path: /runner/x}, {source: ~/a, path: /root/.ssh/config}").unwrap();
    for list in [
        "{source: a, path: /x}",
        "{source: \"~\", path: /x}",
        "{source: ~/, path: /x}",
        "{source: ~/a/, path: /x}",
        "{source: ~//a, path: /x}",
        "{source: ~/a/../b, path: /x}",
        "{source: ~other/a, path: /x}",
        "{source: \"~/a\\0b\", path: /x}",
        "{source: \"~/\\e[2J\", path: /x}",
        "{source: ~/a, path: x}",
        "{source: ~/a, path: /}",
        "{source: ~/a, path: /x/}",
        "{source: ~/a, path: /x/../y}",
        "{source: ~/a, path: /proc/x}",
        "{source: ~/a, path: /run}",
        "{source: ~/a, path: /root/.ssh/authorized_keys}",
        "{source: ~/a, path: /x}, {source: ~/b, path: /x}",
        "{source: ~/a, path: /x/y}, {source: ~/b, path: /x}",
    ] {
        assert_eq!(fields(files(list)).len(), 1, "{list}");
    }
    let many = |n: usize| {
        let one = |n| format!("{{source: ~/a, path: /x{n}}}");
        files(&(0..n).map(one).collect::<Vec<_>>().join(", "))
    };
    many(32).unwrap();
    assert_eq!(fields(many(33)).len(), 1);
}

#[test]
fn keys_are_public_keys() {
    vm(&format!("  sshAuthorizedKeys: [\"{KEY}\"]")).unwrap();
    for key in [
        "~/.ssh/id_ed25519.pub",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 nonsense!",
        "ssh-dss AAAAB3NzaC1kc3MAAA==",
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJxQ5zU5l0Ut8DnTj0mbUsG2rPNbPGNPyYtjoIHIDPKU",
        "command=\\\"x\\\" ssh-ed25519 AAAA",
        "ssh-ed25519 AAAA\\nssh-rsa BBBB",
        "",
    ] {
        let found = fields(vm(&format!("  sshAuthorizedKeys: [\"{key}\"]")));
        assert_eq!(
            found,
            [("spec.sshAuthorizedKeys[0]".into(), 6, 23)],
            "{key}"
        );
    }
}

#[test]
fn environment_names_and_values() {
    vm("  env: {EDITOR: vi, _x1: \"a b\\tc\", EMPTY: \"\"}").unwrap();
    for env in [
        "1A: x",
        "A-B: x",
        "A: \"x\\ny\"",
        "A: \"\\0\"",
        "\"\": x",
        "A B: x",
    ] {
        assert_eq!(fields(vm(&format!("  env: {{{env}}}"))).len(), 1, "{env}");
    }
}

#[test]
fn paths_become_absolute() {
    for (path, absolute) in [
        ("/images/a.ext4", "/images/a.ext4"),
        ("./a.ext4", "/home/me/.config/banger/vms/a.ext4"),
        (
            "../images/./a.ext4",
            "/home/me/.config/banger/vms/../images/a.ext4",
        ),
        ("~/images/a.ext4", "/home/me/images/a.ext4"),
    ] {
        let validated = image(&format!("  rootfs: {{disk: {{path: \"{path}\"}}}}")).unwrap();
        let Body::Image(spec) = validated.body else {
            panic!("an image");
        };
        assert_eq!(spec.rootfs.disk.unwrap().path, absolute);
    }
    for path in [
        "",
        " ",
        "~you/a",
        "$HOME/a",
        "https://example.org/a",
        "a\\nb",
    ] {
        let found = fields(image(&format!("  rootfs: {{disk: {{path: \"{path}\"}}}}")));
        assert_eq!(found[0].0, "spec.rootfs.disk.path", "{path}");
    }
}

#[test]
fn exactly_one_source_that_works() {
    for rootfs in [
        "{}",
        "{archive: {path: a}}",
        "{oci: {reference: a}}",
        "{build: {from: a, steps: []}}",
        "{disk: {path: a}, oci: {reference: a}}",
        "{disk: {path: a, sha256: abc}}",
    ] {
        assert_eq!(
            fields(image(&format!("  rootfs: {rootfs}"))).len(),
            1,
            "{rootfs}"
        );
    }
    let disk = "  rootfs: {disk: {path: a}}\n";
    assert_eq!(
        fields(image(&format!("{disk}  workSeed: {{size: 1Gi}}"))).len(),
        1
    );
    let digest = "ab".repeat(32);
    image(&format!("{disk}  kernel: {{path: k, sha256: {digest}}}")).unwrap();
    assert_eq!(
        fields(image(&format!(
            "{disk}  modules: {{path: k, sha256: {digest}}}"
        )))
        .len(),
        1
    );
}

#[test]
fn labels_and_annotations_follow_kubernetes() {
    let with = |metadata: &str| {
        check(&format!(
            "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: web, {metadata}}}\nspec: {{image: debian-12}}\n"
        ))
    };
    with("labels: {app: shop, example.org/tier: \"\", A.b_c: v1.0}").unwrap();
    with("annotations: {banger.dev/prevent-deletion: \"true\", note: \"any text, äöü\"}").unwrap();
    for metadata in [
        "labels: {-app: x}",
        "labels: {app: \"a b\"}",
        "labels: {Example.org/app: x}",
        "labels: {banger.dev/app: x}",
        "annotations: {banger.dev/prevent-deletion: \"yes\"}",
        "annotations: {banger.dev/prevent-deletions: \"true\"}",
        "annotations: {a/b/c: x}",
    ] {
        let found = fields(with(metadata));
        assert_eq!(found.len(), 1, "{metadata}: {found:?}");
        assert_eq!(found[0].1, 3);
    }
}
