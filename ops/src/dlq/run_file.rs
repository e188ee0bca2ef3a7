//! What a broken redrive leaves behind: which letters it was about, and how far it came. The same command finds it and goes on.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use operation::Filter;
use serde::{Deserialize, Serialize};

/// A run that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Which letters.
    pub(super) filter: Filter,
    /// Who started it.
    pub(super) who: String,
    /// How far each group is.
    pub(super) groups: BTreeMap<String, Progress>,
}

/// How far a run is in one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Only what had failed last before this instant, by the group's own clock: what dies again is left alone.
    pub(super) before: Timestamp,
    /// Letters up to this number are decided.
    pub(super) after: i64,
    /// Letters sent back so far.
    pub(super) done: u64,
    /// Everything was gone through.
    pub(super) finished: bool,
}

/// The file of one run.
#[derive(Debug)]
pub(super) struct RunFile {
    path: PathBuf,
}

impl RunFile {
    /// The file of the run about `filter` in `groups`, whoever starts it.
    pub(super) fn new(folder: &Path, groups: &[&str], filter: &Filter) -> anyhow::Result<Self> {
        let about = serde_json::to_string(&(groups, filter)).context("name the run")?;
        Ok(Self { path: folder.join(format!("redrive-{:016x}.json", fingerprint(&about))) })
    }

    /// The run that was broken off, if there is one. A file that cannot be read is none: letters that were decided are known
    /// by their services, so starting over acts on nothing twice.
    pub(super) fn load(&self) -> Option<Run> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    /// Replaces the file in one step, so that a kill leaves the old or the new one.
    pub(super) fn save(&self, run: &Run) -> anyhow::Result<()> {
        let said = || format!("remember the run in {}", self.path.display());
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).with_context(said)?;
        }
        let scratch = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = fs::File::create(&scratch).with_context(said)?;
        file.write_all(&serde_json::to_vec(run).with_context(said)?).with_context(said)?;
        file.sync_all().with_context(said)?;
        fs::rename(&scratch, &self.path).with_context(said)
    }

    /// The run is over. Another operator's same run may have removed the file already.
    pub(super) fn remove(&self) {
        drop(fs::remove_file(&self.path));
    }
}

/// FNV-1a.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_command_finds_its_run_and_another_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let filter = Filter { class: Some("permanent".to_owned()), ..Filter::default() };
        let file = RunFile::new(folder.path(), &["orders"], &filter).unwrap();
        assert_eq!(file.load(), None);
        let progress = Progress { before: Timestamp::UNIX_EPOCH, after: 7, done: 3, finished: false };
        let run = Run { filter: filter.clone(), who: "ann".to_owned(), groups: BTreeMap::from([("orders".to_owned(), progress)]) };
        file.save(&run).unwrap();
        assert_eq!(RunFile::new(folder.path(), &["orders"], &filter).unwrap().load(), Some(run));
        assert_eq!(RunFile::new(folder.path(), &["payments"], &filter).unwrap().load(), None);
        assert_eq!(RunFile::new(folder.path(), &["orders"], &Filter::default()).unwrap().load(), None);
        file.remove();
        assert_eq!(file.load(), None);
    }
}
