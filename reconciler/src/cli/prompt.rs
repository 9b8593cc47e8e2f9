//! A question that loses data if answered wrongly.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::{Exit, Failure};

/// Asks for `yes`, in a terminal; without one the answer has to be `--yes`.
pub(super) fn confirm(question: &str) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(
            Failure::invalid(format!("{question}: nobody is there to confirm it"))
                .help("add `--yes` if that is what you want"),
        );
    }
    let mut err = anstream::stderr();
    let _ = write!(err, "{question}. Type `yes` to go on: ");
    let _ = err.flush();
    let mut answer = String::new();
    match stdin.lock().read_line(&mut answer) {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        Ok(_) => Err(Failure::new(
            Exit::Conflict,
            "not confirmed: nothing was done",
        )),
        Err(error) => Err(Failure::new(Exit::Internal, "the answer can't be read").because(&error)),
    }
}
