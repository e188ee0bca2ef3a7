//! The part of docs/decisions/0008-models.md that is written by the search itself.

use std::{fs, io, path::PathBuf};

use crate::cases::TOLD;

/// The lines between which the counterexamples stand.
const MARKS: [&str; 2] = ["<!-- written by `cargo run -p models` -->\n", "<!-- end -->\n"];

/// Where the page is.
#[must_use]
pub fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/decisions/0008-models.md"))
}

/// `page` with the counterexamples as they are found now.
///
/// # Errors
/// The page has no marks, or a case has no counterexample any more.
pub fn renewed(page: &str) -> io::Result<String> {
    let [begin, end] = MARKS;
    let (before, rest) = page.split_once(begin).ok_or_else(|| io::Error::other(format!("the page has no line {begin}")))?;
    let (_, after) = rest.split_once(end).ok_or_else(|| io::Error::other(format!("the page has no line {end}")))?;
    let mut told = String::new();
    for case in TOLD {
        let story = case.shortest().ok_or_else(|| io::Error::other(format!("{}: no promise is broken any more", case.name)))?;
        told.push_str(&format!("\n## {}\n\n{}\n\n{}", case.name, case.without, story.markdown()));
    }
    Ok(format!("{before}{begin}{told}\n{end}{after}"))
}

/// Writes the counterexamples into the page.
///
/// # Errors
/// As [`renewed`], or the page cannot be read or written.
pub fn renew() -> io::Result<()> {
    fs::write(path(), renewed(&fs::read_to_string(path())?)?)
}
