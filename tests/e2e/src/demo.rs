//! What `make demo` shows: YAML files become microVMs, one is edited, one goes.
//! What a person would type is shown and then run, all of it as the owner.

use anyhow::{Result, ensure};

use crate::Output;

/// The VMs of the example specs, in the order in which they are waited for.
const VMS: [&str; 4] = ["web", "worker", "left", "right"];

/// The demo on a host that runs banger, with the examples at `/payload/examples`
/// and what `debian-12.yaml` names at `~/images`.
pub struct Demo<'a> {
    /// Runs a shell line as the owner, whatever its status.
    pub ask: &'a dyn Fn(&str) -> Result<Output>,
    /// Waits until a VM is Ready.
    pub ready: &'a dyn Fn(&str) -> Result<()>,
    /// Shows text, with its own line ends.
    pub print: &'a dyn Fn(&str),
    /// Whether programs are to use colours.
    pub colour: bool,
}

impl Demo<'_> {
    /// All of it.
    ///
    /// # Errors
    /// Something isn't as it should be.
    pub fn run(&self) -> Result<()> {
        self.declare()?;
        self.log_in()?;
        self.edit()?;
        self.delete()
    }

    /// Files are dropped, and become VMs.
    ///
    /// # Errors
    /// A VM doesn't become Ready.
    pub fn declare(&self) -> Result<()> {
        self.say("The example specs become the owner's desired state.");
        self.show("ls ~/.config/banger/*/")?;
        self.show("cp /payload/examples/debian-12.yaml ~/.config/banger/images/")?;
        self.show("cp /payload/examples/{pair,web,worker}.yaml ~/.config/banger/vms/")?;
        VMS.iter().try_for_each(|name| (self.ready)(name))?;
        self.show("banger get images")?;
        self.show("banger get vms")
    }

    /// A guest answers.
    ///
    /// # Errors
    /// It doesn't.
    pub fn log_in(&self) -> Result<()> {
        self.say("A command in the guest, over SSH.");
        self.show("banger vm ssh web -- 'hostname; uname -r; nproc; df -h / | tail -n 1'")
    }

    /// More processors for `web`: what that means is told before it happens.
    ///
    /// # Errors
    /// The edit changes nothing, or isn't taken.
    pub fn edit(&self) -> Result<()> {
        self.say("An edit, previewed before anything happens.");
        let edited = "sed 's/vcpus: .*/vcpus: 4/' ~/.config/banger/vms/web.yaml > ~/web.yaml";
        self.quietly(edited)?;
        let differs = (self.ask)("cmp -s ~/web.yaml ~/.config/banger/vms/web.yaml")?;
        ensure!(differs.status == 1, "the example has no vcpus to edit");
        self.show("banger diff -f ~/web.yaml")?;
        self.show("banger apply -f ~/web.yaml --restart")?;
        self.show("banger get vms -o wide")?;
        self.show("banger vm ssh web -- nproc")
    }

    /// `web` goes.
    ///
    /// # Errors
    /// It doesn't.
    pub fn delete(&self) -> Result<()> {
        self.say("And gone again; its disk is in the trash.");
        self.show("banger delete vm web --yes")?;
        self.show("banger get vms")
    }

    fn say(&self, text: &str) {
        (self.print)(&format!("\n# {text}\n"));
    }

    fn quietly(&self, line: &str) -> Result<()> {
        let output = (self.ask)(line)?;
        ensure!(output.status == 0, "`{line}`: {}", output.stderr.trim_end());
        Ok(())
    }

    /// Shows a line as a person would type it, runs it and shows what it says.
    fn show(&self, line: &str) -> Result<()> {
        (self.print)(&format!("$ {line}\n"));
        // The host's end of the connection is no terminal; ours may be one.
        let colour = match self.colour {
            true => "export CLICOLOR_FORCE=1; ",
            false => "",
        };
        let output = (self.ask)(&format!("{colour}{line}"))?;
        (self.print)(&format!("{}{}", output.stdout, output.stderr));
        // 1 is `diff`'s way of saying that there are differences.
        let wanted = if line.starts_with("banger diff") {
            1
        } else {
            0
        };
        ensure!(
            output.status == wanted,
            "`{line}` ended with status {}",
            output.status
        );
        Ok(())
    }
}

/// How to go on playing with the host of that name, or how to have it stay.
#[must_use]
pub fn farewell(name: &str, is_kept: bool) -> String {
    if !is_kept {
        return "The host is gone again. `make demo KEEP=1` leaves it running, for you to try \
                more.\n"
            .to_owned();
    }
    format!(
        "The host goes on running, and it is yours. A shell in it, as the owner:\n\n    \
         tests/e2e/host exec --name {name}\n\n\
         Try `banger get vms -w` there, `banger describe vm left`, `banger vm ssh left`,\n\
         `banger undelete vm web`, or edit a file in ~/.config/banger/vms. At the end:\n\n    \
         tests/e2e/host down --name {name}\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;

    use super::*;

    /// The demo on a host that says `<status> <line>` to each line.
    fn run(status: impl Fn(&str) -> i32, colour: bool) -> (Result<()>, String) {
        let shown = RefCell::new(String::new());
        let result = Demo {
            ask: &|line| {
                let status = status(line);
                Ok(Output {
                    status,
                    stdout: format!("{status} {line}\n"),
                    stderr: String::new(),
                })
            },
            ready: &|name| {
                shown.borrow_mut().push_str(&format!("ready {name}\n"));
                Ok(())
            },
            print: &|text| shown.borrow_mut().push_str(text),
            colour,
        }
        .run();
        (result, shown.into_inner())
    }

    /// Only `cmp` and `diff` find a difference.
    fn as_ever(line: &str) -> i32 {
        i32::from(line.starts_with("cmp") || line.contains("banger diff"))
    }

    #[test]
    fn each_line_is_shown_with_what_it_says() {
        let (result, shown) = run(as_ever, false);
        result.unwrap();
        let table = "$ banger get vms\n0 banger get vms\n";
        assert_eq!(shown.matches(table).count(), 2, "{shown}");
        assert!(shown.contains("$ banger diff -f ~/web.yaml\n1 banger diff"));
        let at = |text: &str| shown.find(text).unwrap();
        assert!(at("ready right") < at(table), "{shown}");
        assert!(!shown.contains("sed") && !shown.contains("CLICOLOR"));
        let (_, coloured) = run(as_ever, true);
        assert!(coloured.contains("$ banger get vms\n0 export CLICOLOR_FORCE=1; banger"));
    }

    #[test]
    fn it_ends_where_something_is_not_as_it_should_be() {
        for (line, wrong) in [
            ("banger get vms", 1),
            ("banger diff -f ~/web.yaml", 0),
            ("banger diff -f ~/web.yaml", 2),
            ("banger apply -f ~/web.yaml --restart", 4),
            ("cmp -s ~/web.yaml ~/.config/banger/vms/web.yaml", 0),
        ] {
            let (result, shown) = run(
                |asked| if asked == line { wrong } else { as_ever(asked) },
                false,
            );
            assert!(result.is_err(), "{line}: {shown}");
        }
    }

    #[test]
    fn a_person_is_told_how_to_go_on() {
        let kept = farewell("demo", true);
        assert!(kept.contains("tests/e2e/host exec --name demo\n"), "{kept}");
        assert!(kept.contains("tests/e2e/host down --name demo\n"), "{kept}");
        assert!(farewell("demo", false).contains("make demo KEEP=1"));
    }
}
