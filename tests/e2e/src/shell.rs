//! Words for the host's shell.

/// One word for a POSIX shell.
#[must_use]
pub(crate) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The shell line of a command: one word is a line already, several are a
/// program and its arguments, none is `None`.
#[must_use]
pub fn shell_line(words: &[String]) -> Option<String> {
    match words {
        [] => None,
        [line] => Some(line.clone()),
        words => {
            let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
            Some(quoted.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shell_line;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn arguments_arrive_as_they_were_given() {
        assert_eq!(shell_line(&[]), None);
        assert_eq!(
            shell_line(&words(&["a | b"])).as_deref(),
            Some("a | b"),
            "one word is a line"
        );
        assert_eq!(
            shell_line(&words(&["echo", "it's", "$HOME"])).as_deref(),
            Some(r"'echo' 'it'\''s' '$HOME'")
        );
    }
}
