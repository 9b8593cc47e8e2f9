//! Live stages: a spinner per object in a terminal, plain lines elsewhere; always on stderr.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape::escape_line;
use super::object_ref::ObjectRef;
use super::output::note;
use super::style::{BAD, DIM, GOOD};

/// What is shown while something is waited for.
pub(super) struct Stages {
    bars: Option<MultiProgress>,
    shown: BTreeMap<ObjectRef, (Option<ProgressBar>, String)>,
}

impl Stages {
    /// For a terminal, or for lines.
    pub(super) fn new(terminal: bool) -> Self {
        Self {
            bars: terminal
                .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8))),
            shown: BTreeMap::new(),
        }
    }

    /// The stage that an object is in. One that is shown already is not shown again.
    pub(super) fn stage(&mut self, object: &ObjectRef, stage: &str) {
        let stage = escape_line(stage);
        if let Some((bar, shown)) = self.shown.get_mut(object) {
            if *shown != stage {
                match bar {
                    Some(bar) => bar.set_message(stage.clone()),
                    None => note(format_args!("{object}: {stage}")),
                }
                *shown = stage;
            }
            return;
        }
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template(
                "{spinner:.cyan} {prefix:.bold} {wide_msg} {elapsed:.dim}",
            )
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = bars.add(ProgressBar::new_spinner().with_style(style));
            bar.set_prefix(object.to_string());
            bar.set_message(stage.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            note(format_args!("{object}: {stage}"));
        }
        self.shown.insert(object.clone(), (bar, stage));
    }

    /// The object's last line.
    pub(super) fn end(&mut self, object: &ObjectRef, good: bool, words: &str, took: Duration) {
        if let Some((Some(bar), _)) = self.shown.remove(object) {
            bar.finish_and_clear();
        }
        let (style, mark) = if good { (GOOD, "✓") } else { (BAD, "✗") };
        let words = escape_line(words);
        let seconds = took.as_secs_f32();
        self.aside(&match &self.bars {
            Some(_) => {
                format!("{style}{mark}{style:#} {object} {words} {DIM}{seconds:.1}s{DIM:#}")
            }
            None => format!("{object}: {words} ({seconds:.1}s)"),
        });
    }

    /// A line above what is live.
    fn aside(&self, line: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| note(line)),
            None => note(line),
        }
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        for (bar, _) in self.shown.values() {
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        }
    }
}
