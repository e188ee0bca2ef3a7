//! What is printed: data as a table for people or as JSON for programs, everything else on standard error.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use crate::client::Error;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line and entry.
    Jsonl,
}

/// Where a command writes.
pub struct Output {
    /// How data is printed.
    pub format: Format,
    /// Whether a person watches: progress is drawn.
    pub watched: bool,
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Output {
    /// Standard output and error.
    #[must_use]
    pub fn standard() -> Self {
        Self { watched: io::stderr().is_terminal(), ..Self::to(io::stdout(), io::stderr()) }
    }

    /// Data to `out`, everything else to `err`.
    #[must_use]
    pub fn to(out: impl Write + 'static, err: impl Write + 'static) -> Self {
        Self { format: Format::Table, watched: false, out: Box::new(out), err: Box::new(err) }
    }

    /// One line for the person who waits. Standard error may be closed; that must not stop a run.
    pub fn note(&mut self, line: &str) {
        drop(writeln!(self.err, "{}", line.trim_end()));
    }

    /// What a long run does now: drawn over itself for a person who watches, a line each for everybody else.
    pub fn progress(&mut self, line: &str) {
        if self.watched {
            drop(write!(self.err, "\r\x1b[K{line}").and_then(|()| self.err.flush()));
        } else {
            self.note(line);
        }
    }

    /// The run has ended: what comes next begins on a line of its own.
    pub fn progress_ends(&mut self) {
        if self.watched {
            drop(writeln!(self.err));
        }
    }

    /// Text as it is.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn text(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).context("write the answer").map_err(Error::Here)
    }

    /// Entries of one kind: a table, one document `{"data": […]}`, or a line each.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn list<T: Serialize>(&mut self, entries: &[T], table: impl FnOnce(&[T]) -> Table) -> Result<(), Error> {
        match self.format {
            Format::Table => self.text(&table(entries).to_string()),
            Format::Json => self.json(&serde_json::json!({"data": entries})),
            Format::Jsonl => entries.iter().try_for_each(|entry| self.line(entry)),
        }
    }

    /// One thing: as text for people, or a document.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn one<T: Serialize>(&mut self, thing: &T, text: impl FnOnce(&T) -> String) -> Result<(), Error> {
        match self.format {
            Format::Table => self.text(&text(thing)),
            Format::Json => self.json(thing),
            Format::Jsonl => self.line(thing),
        }
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).context("write the answer")?;
        self.text(&format!("{text}\n"))
    }

    /// One line of JSON.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn line(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(value).context("write the answer")?;
        self.text(&format!("{text}\n"))
    }
}

/// Columns of text, each as wide as its widest entry.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
    empty: &'static str,
}

impl Table {
    /// A table with these headings; `empty` is said instead of a table without rows.
    #[must_use]
    pub fn new(headings: &[&str], empty: &'static str) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()], empty }
    }

    /// Adds a row. Control characters are shown as `·`: nothing in a message may move the cursor.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }
}

/// Text without control characters.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.len() < 2 {
            return writeln!(f, "{}", self.empty);
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// How long before `now`, in the largest unit: `40s`, `3m`, `2h`, `5d`.
#[must_use]
pub fn ago(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(at.as_second()).max(0);
    span(seconds)
}

/// How long after `now`: `in 40s`, or `now`.
#[must_use]
pub fn until(now: Timestamp, at: Timestamp) -> String {
    let seconds = at.as_second().saturating_sub(now.as_second());
    if seconds <= 0 { "now".to_owned() } else { format!("in {}", span(seconds)) }
}

fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

/// A cell that may be empty.
#[must_use]
pub fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells_and_shows_no_control_character() {
        let mut table = Table::new(&["A", "LONGER"], "nothing");
        assert_eq!(table.to_string(), "nothing\n");
        table.row(["wide cell".to_owned(), "\u{1b}[2J".to_owned()]);
        assert_eq!(table.to_string(), "A          LONGER\nwide cell  ·[2J\n");
    }

    #[test]
    fn spans_use_the_largest_unit() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!([0, 119, 120, 7_200, 172_800].map(|s| ago(at(s), at(0))), ["0s", "119s", "2m", "2h", "2d"]);
        assert_eq!((until(at(5), at(5)), until(at(0), at(90))), ("now".to_owned(), "in 90s".to_owned()));
    }
}
