//! The device nodes of loop devices and taps. A node is no proof: one may stand
//! there without a driver behind it, so that it is opened (which does nothing
//! more with either of them).

use std::fs::OpenOptions;
use std::io::ErrorKind;

use super::Check;

/// What came of opening a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Not there, or nothing behind it.
    Missing(String),
    /// It is there, and this account may not open it.
    Denied,
    /// A driver answers.
    Opened,
}

pub(super) fn open(path: &str) -> Node {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Node::Opened,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Node::Denied,
        Err(error) => Node::Missing(error.to_string()),
    }
}

pub(super) fn loop_devices() -> Check {
    const PATH: &str = "/dev/loop-control";
    judge("loop", PATH, &open(PATH))
}

pub(super) fn tun() -> Check {
    const PATH: &str = "/dev/net/tun";
    judge("tun", PATH, &open(PATH))
}

fn judge(module: &str, path: &str, node: &Node) -> Check {
    match node {
        Node::Opened => Check::pass(module, format!("{path} opens")),
        Node::Denied => Check::pass(module, format!("{path} is there, for root")),
        Node::Missing(why) => Check::fail(
            module,
            format!("{path} can't be opened: {why}"),
            format!("load its module: `sudo modprobe {module}`"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::{Node, judge, open};

    #[test]
    fn a_node_that_is_missing_names_its_module() {
        assert_eq!(judge("tun", "/x", &Node::Opened).verdict, Verdict::Pass);
        assert_eq!(judge("tun", "/x", &Node::Denied).verdict, Verdict::Pass);
        let missing = judge("tun", "/x", &open("/dev/null/none"));
        assert_eq!(missing.verdict, Verdict::Fail);
        assert!(missing.remedy.is_some_and(|it| it.contains("modprobe tun")));
    }
}
