//! Progress: a live line a stage in a terminal, plain lines elsewhere. All of
//! it goes to standard error, so that a program's output stays its own.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Where and how progress is shown.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    terminal: bool,
}

impl Default for Stages {
    fn default() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }
}

impl Stages {
    /// Runs one stage and shows how long it took.
    ///
    /// # Errors
    /// The stage's own.
    pub fn run<T>(&self, title: &str, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let live = if self.terminal {
            Some(live_line(title))
        } else {
            // A log that says nothing for minutes looks like one that hangs.
            eprintln!("{:>6}  {title}", "...");
            None
        };
        let result = stage();
        if let Some(bar) = live {
            bar.finish_and_clear();
        }
        let mark = if result.is_ok() { "ok" } else { "FAILED" };
        eprintln!(
            "{mark:>6}  {title} ({:.1} s)",
            start.elapsed().as_secs_f64()
        );
        result
    }

    /// A line that isn't a stage.
    pub fn note(&self, text: &str) {
        eprintln!("{:>6}  {text}", "");
    }
}

fn live_line(title: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner:>6}  {msg} ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.set_message(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
