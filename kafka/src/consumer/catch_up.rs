//! Reading again what a lost database had handled: below the ends noted when the rebuild began, a message that was decided
//! is passed over, one that only projects is applied, and one that the old database never got to, or never published the
//! outcome of, is decided now, with the ids it would have had then.
//!
//! Source: PROTOCOLS 4.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::TopicPartition;
use super::batch::Ready;
use super::source::Fetched;
use crate::message::MessageId;
use crate::retry::store::{self, End, TopicKey};
use crate::route::Again;
use crate::unit::Work;

/// What a rebuild knows before it reads its inputs again.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    /// The end of each partition when every older process had been fenced.
    pub(crate) ends: HashMap<TopicPartition, i64>,
    /// Messages that count as handled because a person said so.
    pub(crate) ended: HashSet<(TopicPartition, i64)>,
}

impl CatchUp {
    fn is_old(&self, record: &Fetched) -> bool {
        self.ends.get(&record.at).is_some_and(|end| record.offset < *end)
    }
}

/// What is known of the records of one batch.
#[derive(Debug, Default)]
pub(super) struct Past<'a> {
    catch_up: Option<&'a CatchUp>,
    known: HashSet<Uuid>,
    /// Where letters are parked.
    parked: HashSet<(TopicPartition, i64)>,
    /// From which offset on a blocked key is blocked.
    blocked_from: HashMap<TopicKey, i64>,
    /// Keys that nothing blocks any more.
    pub(super) freed: Vec<TopicKey>,
    pub(super) promoted: bool,
}

/// What to do with a record before it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// As always.
    Decide,
    /// It was handled: only what its handling took out of the parked messages is taken out again.
    PassOver,
    /// Its letter is parked, or a person ended it.
    Settled,
}

impl<'a> Past<'a> {
    /// Looks up what is known of old records; nothing is asked for batches without any. Letters that were sent back and handled
    /// are taken out.
    pub(super) async fn look<W: Work>(
        db: &mut PgConnection,
        group: &str,
        catch_up: Option<&'a CatchUp>,
        ready: &[Ready<'_, W>],
    ) -> Result<Self, sqlx::Error> {
        let mut past = Self { catch_up, ..Self::default() };
        let Some(catch_up) = catch_up else { return Ok(past) };
        let old: Vec<&Ready<'_, W>> = ready.iter().filter(|ready| catch_up.is_old(ready.record)).collect();
        if old.is_empty() {
            return Ok(past);
        }
        past.known = sqlx::query_scalar::<_, Uuid>("SELECT DISTINCT causation_id FROM events WHERE causation_id = ANY($1)")
            .bind(old.iter().map(|ready| ready.item.meta.id.uuid()).collect::<Vec<_>>())
            .fetch_all(&mut *db)
            .await?
            .into_iter()
            .collect();
        past.letters(db, group, &old).await?;
        past.keys(db, group, &old).await?;
        Ok(past)
    }

    async fn letters<W: Work>(&mut self, db: &mut PgConnection, group: &str, old: &[&Ready<'_, W>]) -> Result<(), sqlx::Error> {
        let rows = sqlx::query(
            "SELECT p.pos, p.topic, p.partition, p.record_offset, p.key, p.alone, p.redrive_no FROM parked p
             JOIN unnest($2::text[], $3::int[], $4::bigint[]) AS o (topic, partition, record_offset)
               ON p.topic = o.topic AND p.partition = o.partition AND p.record_offset = o.record_offset
             WHERE p.consumer_group = $1 ORDER BY p.pos",
        )
        .bind(group)
        .bind(old.iter().map(|ready| ready.record.at.topic.as_str()).collect::<Vec<_>>())
        .bind(old.iter().map(|ready| ready.record.at.partition).collect::<Vec<_>>())
        .bind(old.iter().map(|ready| ready.record.offset).collect::<Vec<_>>())
        .fetch_all(&mut *db)
        .await?;
        let (mut handled, mut keys) = (Vec::new(), Vec::new());
        for row in rows {
            let at = TopicPartition { topic: row.try_get("topic")?, partition: row.try_get("partition")? };
            let (pos, offset, redrive_no): (i64, i64, i32) =
                (row.try_get("pos")?, row.try_get("record_offset")?, row.try_get("redrive_no")?);
            let Some(ready) = old.iter().find(|ready| ready.record.at == at && ready.record.offset == offset) else { continue };
            // A letter told its own id and headers only in part.
            sqlx::query("UPDATE parked SET headers = $2 WHERE pos = $1").bind(pos).bind(&ready.record.headers).execute(&mut *db).await?;
            let id = ready.record.id.unwrap_or(ready.item.meta.id);
            let decided = ready.item.route.is_some_and(|route| route.again == Again::Decided);
            if redrive_no > 0 && decided && self.was_known(db, id).await? {
                handled.push(pos);
                if !row.try_get::<bool, _>("alone")? {
                    keys.push((at.topic.clone(), row.try_get("key")?));
                }
            }
            self.parked.insert((at, offset));
        }
        store::finish(db, group, &handled, End::Handled).await?;
        // lock_keys is not needed: nobody else works on this database before the rebuild has ended.
        let settled = store::settle_keys(db, group, &keys).await?;
        (self.freed, self.promoted) = (settled.freed, settled.promoted > 0);
        Ok(())
    }

    /// An unreadable message is known by its place, and once it was edited by the id it came with.
    async fn was_known(&self, db: &mut PgConnection, id: MessageId) -> Result<bool, sqlx::Error> {
        if self.known.contains(&id.uuid()) {
            return Ok(true);
        }
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM events WHERE causation_id = $1)").bind(id.uuid()).fetch_one(db).await
    }

    async fn keys<W: Work>(&mut self, db: &mut PgConnection, group: &str, old: &[&Ready<'_, W>]) -> Result<(), sqlx::Error> {
        let rows = sqlx::query(
            "SELECT p.topic, p.key, min(p.record_offset) AS first FROM parked p
             WHERE p.consumer_group = $1 AND NOT p.alone
               AND (p.topic, p.key) IN (SELECT topic, key FROM unnest($2::text[], $3::bytea[]) AS k (topic, key))
             GROUP BY p.topic, p.key",
        )
        .bind(group)
        .bind(old.iter().map(|ready| ready.record.at.topic.as_str()).collect::<Vec<_>>())
        .bind(old.iter().map(|ready| ready.record.key.as_slice()).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
        for row in rows {
            self.blocked_from.insert((row.try_get("topic")?, row.try_get("key")?), row.try_get("first")?);
        }
        Ok(())
    }

    /// What is to be done with this record.
    pub(super) fn before<W: Work>(&self, ready: &Ready<'_, W>) -> Before {
        let Some(catch_up) = self.catch_up.filter(|catch_up| catch_up.is_old(ready.record)) else { return Before::Decide };
        let place = (ready.record.at.clone(), ready.record.offset);
        if self.parked.contains(&place) || catch_up.ended.contains(&place) {
            return Before::Settled;
        }
        match ready.item.route.map(|route| route.again) {
            Some(Again::Decided) if self.known.contains(&ready.item.meta.id.uuid()) => Before::PassOver,
            Some(Again::Decided | Again::Projects | Again::Calls) | None => Before::Decide,
        }
    }

    /// Whether the record came before the letter that blocks its key: it was handled in its time, or is now.
    pub(super) fn precedes_block(&self, record: &Fetched) -> bool {
        self.blocked_from.get(&(record.at.topic.clone(), record.key.clone())).is_some_and(|first| record.offset < *first)
    }
}
