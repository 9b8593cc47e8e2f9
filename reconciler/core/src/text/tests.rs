#![allow(clippy::unwrap_used)]

use super::render;
use crate::problem::Problem;

fn problem() -> Problem {
    Problem {
        file: "web.yaml".into(),
        at: Some((12, 5)),
        object: None,
        field: None,
        message: "it is wrong".into(),
        remedy: Some("make it right".into()),
        line: Some("    wrong: \u{1b}[2J".into()),
    }
}

#[test]
fn place_line_caret_and_remedy() {
    assert_eq!(
        render(&problem()),
        "web.yaml:12:5: it is wrong\n  12 |     wrong: \\u{1b}[2J\n     |     ^\nhelp: make it right\n"
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    let bare = Problem {
        at: None,
        remedy: None,
        ..problem()
    };
    assert_eq!(render(&bare), "web.yaml: it is wrong\n");
    let far = Problem {
        at: Some((1, 500)),
        ..problem()
    };
    assert!(!render(&far).contains('^'));
}

proptest::proptest! {
    #[test]
    fn nothing_reaches_the_terminal_but_text(message in ".*", line in ".*", column in 0_u32..300) {
        let text = render(&Problem { message, line: Some(line), at: Some((1, column)), ..problem() });
        proptest::prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
