//! `cargo xtask check`: the rules of the workspace that no compiler knows. Runs as a test of this crate too.

mod codes;
mod crates;
mod records;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use crate::Report;

/// Broken rules by kind, each a sentence that names the place and the way out.
#[derive(Debug, Default)]
pub struct Faults {
    /// Tiers of crates, inherited lints and dependency versions.
    pub crates: Vec<String>,
    /// Published records that nobody handles.
    pub records: Vec<String>,
    /// Error codes and their pages.
    pub codes: Vec<String>,
}

/// Prints every fault, one a line.
///
/// # Errors
/// There is a fault, or the workspace cannot be read.
pub fn run<W: Write>(root: &Path, report: &mut Report<W>) -> anyhow::Result<()> {
    let Faults { crates, records, codes } = faults(root)?;
    let faults = [crates, records, codes].concat();
    for fault in &faults {
        report.line(fault)?;
    }
    ensure!(faults.is_empty(), "xtask check: {} faults", faults.len());
    report.line("check: crates, records and error codes are in order")
}

/// Every broken rule.
///
/// # Errors
/// The workspace cannot be read.
pub fn faults(root: &Path) -> anyhow::Result<Faults> {
    // Cargo answers with absolute paths; faults name files from the root.
    let root = &root.canonicalize().with_context(|| format!("find {}", root.display()))?;
    let members = crates::read(root)?;
    Ok(Faults {
        crates: crates::faults(&members),
        records: records::faults(&records::routes(&members)?),
        codes: codes::faults(&codes::read(root, &members)?),
    })
}

/// Every `.rs` file below `folder`, sorted; none when the folder does not exist.
fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}
