//! The judge of an outbox: what is on the topics against what is in the database.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Context as _;
use kafka::relay::Position;
use sqlx::Row as _;

use super::topic::{self, Published};
use super::{BLOCK_IDS, Committed, Outbox, PARTITIONS};
use crate::faults::Outcome;

/// What was found.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Rows in the outbox.
    pub rows: usize,
    /// Blocks with a row that was never published.
    pub missing: BTreeSet<i64>,
    /// Records that are there more than once and do not say why.
    pub repeats: usize,
    /// Records that are there again because readers waited behind a transaction without an owner, as their header says.
    pub recorded_repeats: usize,
    /// Records that no row stands for, or that differ from it.
    pub ghosts: usize,
    /// Records before which a later one of their partition or key came.
    pub disorders: usize,
    /// Records whose `prev` is not the one before them.
    pub breaks: usize,
    /// Kafka transactions that end inside a database transaction.
    pub cuts: usize,
    /// Kafka transactions whose position is there and some of whose rows are not.
    pub torn: usize,
    /// From COMMIT to sending, of the transactions whose COMMIT was noted.
    pub lags: Vec<Duration>,
}

impl Judgement {
    /// Tells `outcome` what is broken.
    pub fn tell(&self, outcome: &mut Outcome) {
        for (count, what) in [
            (self.missing.len(), "database transactions were never published whole"),
            (self.repeats, "records are there twice"),
            (self.ghosts, "records have no row"),
            (self.disorders, "records are out of order"),
            (self.breaks, "records break the chain"),
            (self.cuts, "Kafka transactions cut a database transaction"),
        ] {
            outcome.must(count == 0, || format!("{count} {what}"));
        }
        outcome.must(self.rows > 0, || "nothing was written".to_owned());
    }
}

impl Outbox {
    /// Judges everything published so far; the outbox must be drained.
    ///
    /// # Errors
    /// Something cannot be read.
    pub async fn judge(&self, committed: &[Committed]) -> anyhow::Result<Judgement> {
        let sql = "SELECT id, tx_rows, topic, partition, payload FROM outbox ORDER BY id";
        let rows = sqlx::query(sql).fetch_all(&mut self.db().await?).await?;
        let mut judgement = Judgement { rows: rows.len(), ..Judgement::default() };
        let mut due: HashMap<i64, (String, i32, Vec<u8>)> = HashMap::with_capacity(rows.len());
        let mut size: BTreeMap<i64, i32> = BTreeMap::new();
        for row in &rows {
            due.insert(row.try_get(0)?, (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?));
            size.insert(row.try_get(0)?, row.try_get(1)?);
        }
        let commits: HashMap<i64, i64> = committed.iter().map(|commit| (commit.block, commit.at_ms)).collect();
        let mut seen: BTreeSet<i64> = BTreeSet::new();
        for topic in [&self.events, &self.commands] {
            let mut last: BTreeMap<i32, i64> = BTreeMap::new();
            let mut versions: BTreeMap<Vec<u8>, i32> = BTreeMap::new();
            for record in self.read(topic, PARTITIONS).await? {
                let (seq, prev) = (record.number("seq"), record.number("prev"));
                let last = last.entry(record.partition).or_default();
                if seen.contains(&seq) && record.has("repeated-because", "transaction_hanging") {
                    judgement.recorded_repeats += 1;
                    continue;
                }
                judgement.breaks += usize::from(prev != *last);
                if !seen.insert(seq) {
                    judgement.repeats += 1;
                    continue;
                }
                let version: i32 =
                    String::from_utf8_lossy(&record.payload).split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(-1);
                let newest = versions.entry(record.key.clone()).or_insert(version);
                judgement.disorders += usize::from(seq < *last || version < *newest);
                (*last, *newest) = (seq, version);
                let same = due
                    .get(&seq)
                    .is_some_and(|(of, partition, payload)| (of, *partition, payload) == (topic, record.partition, &record.payload));
                judgement.ghosts += usize::from(!same);
                if let Some(commit) = commits.get(&(seq / BLOCK_IDS)) {
                    judgement.lags.push(Duration::from_millis(u64::try_from(record.at_ms - commit).unwrap_or(0)));
                }
            }
        }
        judgement.missing = due.keys().filter(|id| !seen.contains(id)).map(|id| id / BLOCK_IDS).collect();
        let mut before = 0;
        for record in self.read(&Position::topic(&self.service), 1).await? {
            if record.key == self.service.as_bytes() {
                let position: Position = serde_json::from_slice(&record.payload).context("read a position")?;
                let whole =
                    position.cursor == 0 || size.get(&position.cursor).is_some_and(|rows| i64::from(*rows) == position.cursor % BLOCK_IDS);
                judgement.cuts += usize::from(!whole);
                let block = position.cursor / BLOCK_IDS;
                if block > before {
                    judgement.torn += usize::from(judgement.missing.range(before + 1..=block).next().is_some());
                }
                before = block.max(before);
            }
        }
        Ok(judgement)
    }

    async fn read(&self, topic: &str, partitions: i32) -> anyhow::Result<Vec<Published>> {
        let (bootstrap, topic) = (self.direct.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || topic::committed(&bootstrap, &topic, partitions)).await?
    }
}
