//! Usage, versions, schemas, completion.

use clap::CommandFactory as _;
use serde_json::json;

use crate::bench::Bench;
use crate::objects::steady;

#[test]
fn every_command_has_help() {
    let bench = Bench::new();
    let mut root = banger::cli::Cli::command();
    root.build();
    let mut open = vec![(Vec::new(), root)];
    let mut seen = 0;
    while let Some((path, command)) = open.pop() {
        for child in command
            .get_subcommands()
            .filter(|child| child.get_name() != "help")
        {
            let mut path = path.clone();
            path.push(child.get_name().to_owned());
            open.push((path, child.clone()));
        }
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let outcome = bench.banger(&arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome}");
        assert!(
            outcome.stdout.contains("Usage: banger"),
            "{arguments:?}: {outcome}"
        );
        assert_eq!(outcome.stderr, "", "{arguments:?}");
        seen += 1;
    }
    assert!(seen > 25, "only {seen} commands were found");
}

/// `db backup` is told of by `db`, too.
#[test]
fn every_command_has_its_exit_codes_in_the_docs() {
    let text = include_str!("../../../docs/exit-codes.md");
    let (_, table) = text.split_once("## Where each command's code").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: Vec<&str> = rows
        .filter_map(|row| row.split_once("` | "))
        .flat_map(|(commands, _)| commands.split("`, `"))
        .collect();
    let mut root = banger::cli::Cli::command();
    root.build();
    let mut open = vec![(String::new(), root)];
    let mut commands = Vec::new();
    while let Some((path, command)) = open.pop() {
        if !command.has_subcommands() {
            commands.push(path);
            continue;
        }
        for child in command.get_subcommands() {
            if child.get_name() != "help" {
                let path = format!("{path} {}", child.get_name());
                open.push((path.trim().to_owned(), child.clone()));
            }
        }
    }
    let tells = |row: &str, command: &str| {
        let rest = command.strip_prefix(row);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    for command in &commands {
        let rows = documented.iter().filter(|row| tells(row, command)).count();
        assert_eq!(
            rows, 1,
            "{rows} rows of docs/exit-codes.md are of `{command}`"
        );
    }
    for row in &documented {
        let known = commands.iter().any(|command| tells(row, command));
        assert!(known, "there is no command `{row}`");
    }
}

#[test]
fn help_names_the_exit_codes() {
    insta::assert_snapshot!(Bench::new().banger(&["--help"]));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let bench = Bench::new();
    for arguments in [
        &["apply"][..],
        &["frobnicate"],
        &["get"],
        &["get", "pods"],
        &["get", "vm/web", "db"],
        &["get", "vms", "Web"],
        &["describe", "web"],
        &["delete"],
        &["wait", "vm/web"],
        &["wait", "--for=condition=Shiny", "vm/web"],
        &["wait", "--for=delete", "vm/web", "--timeout", "soon"],
        &["events", "web"],
        &["vm", "stop"],
        &["undelete", "image", "debian"],
        &["rename", "vm", "web"],
        &["rename", "image", "a", "b"],
        &["apply", "--prune", "-f", "web.yaml"],
        &["db", "backup"],
    ] {
        let outcome = bench.banger(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {outcome}");
        assert!(
            outcome.stderr.contains("error:"),
            "{arguments:?}: {outcome}"
        );
        assert_eq!(outcome.stdout, "", "{arguments:?}");
    }
}

#[test]
fn versions_of_all_three() {
    let bench = Bench::new();
    bench.daemon(steady(Vec::new()));
    let outcome = bench.banger(&["version"]);
    assert_eq!(outcome.code, Some(0));
    insta::assert_snapshot!(outcome.stdout, @r"
    client: 0.1.0
    daemon: 0.1.0 (on a simulated host)
    helper: protocol 1.0
    ");
}

#[test]
fn the_configuration_is_checked_and_shown_with_its_defaults() {
    let bench = Bench::new();
    let file = bench.write(
        "home/.config/banger/config.toml",
        "[directories]\nvms = \"machines\"\n[defaults]\nvcpus = 3\n",
    );
    let view = bench.banger(&["config", "view"]);
    assert!(view.stdout.contains("vcpus = 3"), "{view}");
    assert!(view.stdout.contains("maxConcurrentActions = 2"), "{view}");
    assert_eq!(bench.banger(&["config", "validate"]).code, Some(0));
    // Documents go where the daemon reads them.
    bench.daemon(steady(Vec::new()));
    std::fs::create_dir(bench.path("home/.config/banger/machines")).unwrap();
    bench.write(
        "home/.config/banger/machines/web.yaml",
        "apiVersion: banger.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\nspec: {image: debian}\n",
    );
    let outcome = bench.banger(&["delete", "vm", "web", "--wait=false"]);
    assert!(
        !bench.path("home/.config/banger/machines/web.yaml").exists(),
        "{outcome}"
    );
    std::fs::write(&file, "[limits]\nmaxActions = 3\n").unwrap();
    let wrong = bench.banger(&["config", "validate"]);
    assert_eq!(wrong.code, Some(2), "{wrong}");
    assert!(
        wrong.stderr.contains("config.toml:2:1") && wrong.stderr.contains("maxActions"),
        "{wrong}"
    );
}

#[test]
fn schemas_are_json_schemas() {
    for kind in ["vm", "image", "config", "all"] {
        let outcome = Bench::new().banger(&["schema", kind]);
        let schema: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert!(
            schema["$schema"]
                .as_str()
                .unwrap()
                .contains("json-schema.org")
        );
        assert!(
            schema["type"] == json!("object") || schema["oneOf"].is_array(),
            "{kind}"
        );
    }
}

#[test]
fn shells_get_completion() {
    for shell in ["bash", "zsh", "fish"] {
        let outcome = Bench::new().banger(&["completion", shell]);
        assert_eq!(outcome.code, Some(0));
        assert!(outcome.stdout.contains("banger") && outcome.stdout.contains("describe"));
    }
}

/// `banger … | head` ends as any other program does: by SIGPIPE, without a word.
#[test]
fn a_reader_that_has_enough_is_no_error() {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Stdio;
    let bench = Bench::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = bench
        .command(&["completion", "bash"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(13));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A full disk is told, not panicked over.
#[test]
fn an_output_that_cannot_be_written_is_told() {
    let bench = Bench::new();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = bench
        .command(&["schema", "vm"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.starts_with("error: the output can't be written"),
        "{stderr}"
    );
}
