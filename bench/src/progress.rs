//! Progress on standard error: a bar on a terminal, a plain line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::interval;

/// How often a bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows a number rising until it is dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

/// What is shown at one moment.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Out of the total.
    pub done: usize,
    /// Anything else worth a word.
    pub note: String,
}

impl Progress {
    /// Shows `label` and what `look` sees, out of `total`.
    #[must_use]
    pub fn start(label: &'static str, total: usize, look: impl Fn() -> Shown + Send + Sync + 'static) -> Self {
        let look = Arc::new(look);
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX)).with_prefix(label);
            if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {per_sec} {elapsed} {msg}") {
                bar.set_style(style);
            }
            let task = tokio::spawn(draw(bar.clone(), look));
            return Self { bar, task };
        }
        Self { bar: ProgressBar::hidden(), task: tokio::spawn(lines(label, total, look)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

async fn draw(bar: ProgressBar, look: Arc<impl Fn() -> Shown>) {
    let mut ticks = interval(DRAW_EVERY);
    loop {
        ticks.tick().await;
        let shown = look();
        bar.set_position(u64::try_from(shown.done).unwrap_or(u64::MAX));
        bar.set_message(shown.note);
    }
}

async fn lines(label: &'static str, total: usize, look: Arc<impl Fn() -> Shown>) {
    let mut ticks = interval(LINE_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Shown { done, note } = look();
        say(&format!("{label} {done}/{total} {note}"));
    }
}

/// Writes one line for the person who waits. Standard error may be closed; that must not stop the run.
pub fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{}", line.trim_end()));
}
