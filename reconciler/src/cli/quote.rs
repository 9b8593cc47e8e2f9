//! Words for a shell.

/// A command for the guest's shell. One word is a shell's line and goes as it
/// is; several are a program and its arguments, each of which arrives as it was
/// given (POSIX shell, "Single-Quotes").
pub(super) fn command_line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => {
            let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
            quoted.join(" ")
        }
    }
}

/// A word that a shell takes as it is.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::command_line;

    #[test]
    fn words_stay_words() {
        let line = |words: &[&str]| {
            command_line(
                &words
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(line(&["cd / && ls"]), "cd / && ls");
        assert_eq!(
            line(&["echo", "a b", "it's", ""]),
            r"echo 'a b' 'it'\''s' ''"
        );
        assert_eq!(line(&["ls", "-l", "/root/x.y"]), "ls -l /root/x.y");
    }
}
