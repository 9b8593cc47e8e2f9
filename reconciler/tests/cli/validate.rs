//! `validate`: no daemon anywhere.

use crate::bench::Bench;

const VM: &str = "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\nspec: {image: debian-12}\n";

#[test]
fn good_documents() {
    let bench = Bench::new();
    bench.write("work/web.yaml", VM);
    let outcome = bench.banger(&["validate", "-f", "web.yaml"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "vm/web is valid\n")
    );
    assert_eq!(
        bench.banger_with(&["validate", "-f", "-"], VM).stdout,
        "vm/web is valid\n"
    );
    assert_eq!(
        bench.banger(&["validate", "-f", "."]).stdout,
        "vm/web is valid\n"
    );
    assert_eq!(bench.banger(&["validate"]).code, Some(0));
    std::fs::write(bench.vm_file("web.yaml"), VM).unwrap();
    assert_eq!(bench.banger(&["validate"]).stdout, "vm/web is valid\n");
}

#[test]
fn bad_documents_are_shown_where_they_are_bad() {
    let bench = Bench::new();
    bench.write("work/a.yaml", &VM.replace("image:", "imagee:"));
    bench.write(
        "work/b.yaml",
        &VM.replace("spec: {", "spec:\n  memory: lots\n  vcpus: 99\n  {"),
    );
    bench.write("work/c.yaml", &format!("{VM}---\n{VM}"));
    let outcome = bench.banger(&["validate", "-f", "a.yaml", "-f", "b.yaml", "-f", "c.yaml"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    for part in [
        "a.yaml:4:",
        "b.yaml:",
        "vm/web is declared more than once",
        "help:",
    ] {
        assert!(outcome.stderr.contains(part), "no {part} in {outcome}");
    }
}

#[test]
fn what_is_no_file_of_documents() {
    let bench = Bench::new();
    bench.write("work/broken.yaml", "\u{fffd}: [");
    std::fs::write(bench.path("work/binary.yaml"), [0xff, 0xfe, 0]).unwrap();
    std::fs::create_dir(bench.path("work/empty")).unwrap();
    for name in [
        "broken.yaml",
        "binary.yaml",
        "empty",
        "absent.yaml",
        "/dev/null",
    ] {
        let outcome = bench.banger(&["validate", "-f", name]);
        assert_eq!(outcome.code, Some(2), "{name}: {outcome}");
        assert!(outcome.stderr.contains("error:"), "{name}: {outcome}");
    }
}
