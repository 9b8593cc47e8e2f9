//! Which requests were cut off, and which there are.

use std::collections::BTreeSet;

use banger_protocol::Request;

use super::{Cut, Heard, Line};

/// No request of its own: it begins each connection, and a cut there is one at
/// the request that comes next.
const GREETING: &str = "hello";
/// A look that was done, and one that wasn't, come to the same.
const LOOK: &str = "inventory";

/// The requests that were cut off so far, each before and after the helper did it.
#[derive(Debug, Default)]
pub struct Tally(BTreeSet<Heard>);

impl Tally {
    /// Tries a thing, and again for each of its requests, which is cut off then;
    /// answers how many those are. What was cut off for another thing already is
    /// left out, if the helper did as much for it: to end a VMM that runs is one
    /// thing, to find none another.
    ///
    /// # Errors
    /// The thing doesn't hold, cut off or not, or asks for something else each time.
    pub async fn sever(
        &mut self,
        attempt: impl AsyncFn(&Line) -> Result<(), String>,
    ) -> Result<usize, String> {
        let line = Line::default();
        attempt(&line).await?;
        let requests = line.heard();
        let new = requests.iter().enumerate();
        let new: Vec<_> = new.filter(|(_, it)| !self.0.contains(it)).collect();
        for (number, Heard { op, .. }) in &new {
            let cuts = [Cut::Before, Cut::After];
            for cut in cuts.into_iter().take(if op == LOOK { 1 } else { 2 }) {
                let differs = |why| format!("cut {cut:?} {op} ({number}): {why}");
                let line = Line::cut_at(*number, cut);
                attempt(&line).await.map_err(differs)?;
                let heard = line.heard();
                if heard.get(*number).is_none_or(|it| it.op != *op) {
                    return Err(differs(format!("it wasn't asked there: {heard:?}")));
                }
            }
        }
        self.0.extend(new.iter().map(|(_, heard)| (*heard).clone()));
        Ok(new.len())
    }

    /// Operations of the protocol that were never cut off.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let cut_off = |op: &str| self.0.iter().any(|heard| heard.op == op);
        let all = Request::OPERATIONS.into_iter();
        all.filter(|op| *op != GREETING && !cut_off(op)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Asks a helper that carries out whatever it hears.
    fn ask(line: &Line, op: &str, answer: &str) {
        let passage = line.pass(op.to_owned());
        if passage.cut.is_none() {
            line.answered(passage.number, answer.to_owned());
        }
    }

    #[tokio::test]
    async fn what_is_new_is_cut_off_and_the_rest_is_named() {
        let mut tally = Tally::default();
        let tries = Cell::new(0);
        let none_runs = async |line: &Line| {
            tries.set(tries.get() + 1);
            ask(line, "inventory", "inventory");
            ask(line, "kill-vmm", "unchanged");
            Ok(())
        };
        assert_eq!(tally.sever(none_runs).await, Ok(2));
        // Uncut, and cut at a look, before an operation, and after it.
        assert_eq!(tries.take(), 4);
        let one_runs = async |line: &Line| {
            tries.set(tries.get() + 1);
            ask(line, "kill-vmm", "changed");
            ask(line, "kill-vmm", "unchanged");
            Ok(())
        };
        assert_eq!(tally.sever(one_runs).await, Ok(1));
        assert_eq!(tries.take(), 3);
        let missing = tally.missing();
        assert_eq!(missing.len(), Request::OPERATIONS.len() - 3);
        for op in [GREETING, LOOK, "kill-vmm"] {
            assert!(!missing.contains(&op), "{missing:?}");
        }
    }

    #[tokio::test]
    async fn what_does_not_hold_is_not_counted() {
        let mut tally = Tally::default();
        let fragile = async |line: &Line| {
            ask(line, "ensure-nat", "changed");
            let whole = line.heard().iter().all(|it| it.answer.is_some());
            whole.then_some(()).ok_or_else(|| "it broke".to_owned())
        };
        let held = tally.sever(fragile).await;
        assert_eq!(held, Err("cut Before ensure-nat (0): it broke".into()));
        let asked = Cell::new(false);
        let fickle = async |line: &Line| {
            let op = if asked.replace(true) {
                "remove-dm"
            } else {
                "ensure-nat"
            };
            ask(line, op, "changed");
            Ok(())
        };
        assert!(tally.sever(fickle).await.is_err());
        assert!(tally.missing().contains(&"ensure-nat"));
    }
}
