//! `cargo xtask schemas`: Rust types from the `.avsc` files, and their frozen history.

mod model;
mod render;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::Report;

const GENERATED: &str = "schemas/src/generated";

/// Writes the generated types; says which files changed.
///
/// # Errors
/// A schema breaks a rule of [`model`](self), or a file cannot be read or written.
pub fn generate<W: Write>(root: &Path, report: &mut Report<W>) -> anyhow::Result<()> {
    let wanted = wanted(root)?;
    for path in differing(root, &wanted)? {
        match wanted.get(&path) {
            Some(text) => {
                fs::create_dir_all(root.join(GENERATED)).with_context(|| format!("create {GENERATED}"))?;
                fs::write(root.join(&path), text).with_context(|| format!("write {}", path.display()))?;
                report.line(format_args!("wrote {}", path.display()))?;
            }
            None => {
                fs::remove_file(root.join(&path)).with_context(|| format!("remove {}", path.display()))?;
                report.line(format_args!("removed {}", path.display()))?;
            }
        }
    }
    report.line(format_args!("{} files are up to date", wanted.len()))
}

/// Fails when the committed types are not what the schemas give.
///
/// # Errors
/// As [`generate`], and when a file differs.
pub fn check<W: Write>(root: &Path, report: &mut Report<W>) -> anyhow::Result<()> {
    let differing = differing(root, &wanted(root)?)?;
    if differing.is_empty() {
        return report.line("generated types are up to date");
    }
    let names = differing.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    bail!("generated types differ from schemas/avro: {names}; run `cargo xtask schemas`")
}

/// Adds every schema that differs from its newest frozen version as the next version.
///
/// # Errors
/// A schema is not fully compatible with a frozen version: then nothing of it is written.
pub fn freeze<W: Write>(root: &Path, report: &mut Report<W>) -> anyhow::Result<()> {
    let types = model::load(&root.join("schemas/avro"))?;
    let mut added = 0_usize;
    for record in &types.records {
        let topic = schemas::topics::of(&record.full_name).with_context(|| format!("{} is on no topic", record.full_name))?;
        let subject = schemas::topics::subject(topic.name, &record.full_name);
        let folder = PathBuf::from("schemas/compat").join(&subject);
        let frozen = frozen(&root.join(&folder))?;
        if frozen.last().is_some_and(|(_, newest)| schemas::compat::same(newest, &record.json)) {
            continue;
        }
        schemas::compat::check(&subject, &record.json, &frozen)?;
        let version = frozen.last().map_or(0, |(version, _)| *version).saturating_add(1);
        let path = folder.join(format!("v{version}.avsc"));
        fs::create_dir_all(root.join(&folder)).with_context(|| format!("create {}", folder.display()))?;
        fs::write(root.join(&path), &record.json).with_context(|| format!("write {}", path.display()))?;
        report.line(format_args!("froze {}", path.display()))?;
        added = added.saturating_add(1);
    }
    report.line(format_args!("{added} new versions"))
}

/// The frozen versions in `folder`, oldest first; none when the folder does not exist.
///
/// # Errors
/// A file is not named `v<n>.avsc`, versions are not 1, 2, 3 …, or a file cannot be read.
pub fn frozen(folder: &Path) -> anyhow::Result<Vec<(u32, String)>> {
    let mut versions = Vec::new();
    if folder.is_dir() {
        for file in model::files(folder)? {
            let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let version = name
                .strip_prefix('v')
                .and_then(|n| n.parse().ok())
                .with_context(|| format!("{} is not named v<n>.avsc", file.display()))?;
            versions.push((version, fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?));
        }
    }
    versions.sort_unstable_by_key(|(version, _)| *version);
    if versions.iter().map(|(version, _)| *version).ne((1_u32..).take(versions.len())) {
        bail!("{}: versions are not 1, 2, 3 …", folder.display());
    }
    Ok(versions)
}

fn wanted(root: &Path) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let types = model::load(&root.join("schemas/avro"))?;
    let files = render::files(&types)?;
    Ok(files.into_iter().map(|(name, text)| (PathBuf::from(GENERATED).join(name), text)).collect())
}

fn differing(root: &Path, wanted: &BTreeMap<PathBuf, String>) -> anyhow::Result<Vec<PathBuf>> {
    let mut differing: Vec<PathBuf> = wanted
        .iter()
        .filter(|(path, text)| fs::read_to_string(root.join(path)).ok().as_ref() != Some(*text))
        .map(|(path, _)| path.clone())
        .collect();
    let folder = root.join(GENERATED);
    if folder.is_dir() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list {GENERATED}"))? {
            let path = PathBuf::from(GENERATED).join(entry.with_context(|| format!("list {GENERATED}"))?.file_name());
            if !wanted.contains_key(&path) {
                differing.push(path);
            }
        }
    }
    Ok(differing)
}
