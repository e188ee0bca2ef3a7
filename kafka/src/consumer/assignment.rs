//! C0: taking over partitions. The group decides who should read; these rows decide who may write.

use sqlx::postgres::PgPool;
use sqlx::{PgConnection, Row};

use super::TopicPartition;
use super::chain::Last;
use super::known::Known;
use crate::harm::{self, Sabotage};

/// A partition taken over: from where, under which epoch, after which record.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) at: TopicPartition,
    pub(super) next_offset: i64,
    pub(super) epoch: i64,
    /// Hash of the record before `next_offset`, the last one handled.
    pub(super) last_hash: Option<i64>,
    pub(super) last: Last,
}

/// Raises the epoch of every partition in one short transaction, which waits for a zombie's open transaction, and reads
/// where to go on. A partition never met before starts at offset 0.
pub(super) async fn take(
    pool: &PgPool,
    group: &str,
    owner: &str,
    partitions: &[TopicPartition],
) -> Result<(Vec<Taken>, Known), sqlx::Error> {
    let topics: Vec<&str> = partitions.iter().map(|p| p.topic.as_str()).collect();
    let numbers: Vec<i32> = partitions.iter().map(|p| p.partition).collect();
    let mut tx = pool.begin().await?;
    let rows = sqlx::query(
        "INSERT INTO progress (consumer_group, topic, partition, next_offset, epoch, owner)
         SELECT $1, topic, partition, 0, 1, $2 FROM unnest($3::text[], $4::int[]) AS p (topic, partition) ORDER BY topic, partition
         ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET epoch = progress.epoch + 1, owner = excluded.owner, caught_up_at = NULL
         RETURNING topic, partition, next_offset, epoch, last_hash",
    )
    .bind(group)
    .bind(owner)
    .bind(&topics)
    .bind(&numbers)
    .fetch_all(&mut *tx)
    .await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in rows {
        taken.push(Taken {
            at: TopicPartition { topic: row.try_get("topic")?, partition: row.try_get("partition")? },
            next_offset: row.try_get("next_offset")?,
            epoch: row.try_get("epoch")?,
            last_hash: row.try_get("last_hash")?,
            last: Last::new(),
        });
    }
    let links = sqlx::query("SELECT topic, partition, src, last_seq FROM chain WHERE consumer_group = $1 AND topic = ANY($2)")
        .bind(group)
        .bind(&topics)
        .fetch_all(&mut *tx)
        .await?;
    for row in links {
        let at = TopicPartition { topic: row.try_get("topic")?, partition: row.try_get("partition")? };
        if let Some(found) = taken.iter_mut().find(|taken| taken.at == at) {
            found.last.insert(row.try_get("src")?, row.try_get("last_seq")?);
        }
    }
    // After the epochs: whatever an owner before us parked is visible now, and nobody else parks any more.
    let known = known(&mut tx, group, partitions).await?;
    tx.commit().await?;
    Ok((taken, known))
}

/// What is parked of these partitions: blocked keys, and stories of messages that perform a step.
pub(super) async fn known(db: &mut PgConnection, group: &str, partitions: &[TopicPartition]) -> Result<Known, sqlx::Error> {
    let topics: Vec<&str> = partitions.iter().map(|p| p.topic.as_str()).collect();
    let numbers: Vec<i32> = partitions.iter().map(|p| p.partition).collect();
    let keys = sqlx::query(
        "SELECT b.topic, b.key FROM unnest($2::text[], $3::int[]) AS o (topic, partition)
         JOIN blocked_key b ON b.consumer_group = $1 AND b.topic = o.topic AND b.partition = o.partition LIMIT $4",
    )
    .bind(group)
    .bind(&topics)
    .bind(&numbers)
    .bind(Known::limit())
    .fetch_all(&mut *db)
    .await?;
    let stories = sqlx::query_scalar("SELECT DISTINCT correlation_id FROM parked WHERE consumer_group = $1 AND step IS NOT NULL LIMIT $2")
        .bind(group)
        .bind(Known::limit())
        .fetch_all(db)
        .await?;
    let keys = keys.iter().map(|row| Ok((row.try_get("topic")?, row.try_get("key")?))).collect::<Result<_, sqlx::Error>>()?;
    Ok(Known::new(keys, stories))
}

/// A retry partition whose records are not those it was read up to goes on at its start: the parked rows are the truth, and
/// a timer that comes again does nothing.
pub(super) async fn restart(pool: &PgPool, group: &str, owner: &str, at: &TopicPartition, offset: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE progress SET next_offset = $5, last_hash = NULL WHERE consumer_group = $1 AND owner = $2 AND topic = $3 AND partition = $4",
    )
    .bind(group)
    .bind(owner)
    .bind(&at.topic)
    .bind(at.partition)
    .bind(offset)
    .execute(pool)
    .await?;
    Ok(())
}

/// Whether these partitions are still ours, and stays so until the transaction ends.
pub(super) async fn hold_epochs(db: &mut PgConnection, group: &str, partitions: &[(TopicPartition, i64)]) -> Result<bool, sqlx::Error> {
    let held = sqlx::query(
        "SELECT 1 FROM progress p JOIN unnest($2::text[], $3::int[], $4::bigint[]) AS o (topic, partition, epoch)
             ON p.topic = o.topic AND p.partition = o.partition AND p.epoch = o.epoch
         WHERE p.consumer_group = $1 ORDER BY p.topic, p.partition FOR SHARE OF p",
    )
    .bind(group)
    .bind(partitions.iter().map(|(at, _)| at.topic.as_str()).collect::<Vec<_>>())
    .bind(partitions.iter().map(|(at, _)| at.partition).collect::<Vec<_>>())
    .bind(partitions.iter().map(|(_, epoch)| *epoch).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    Ok(held.len() == partitions.len())
}

/// One partition's move in a batch.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) at: TopicPartition,
    pub(super) epoch: i64,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) hash: i64,
    /// (src, last seq) of every source met.
    pub(super) links: Vec<(String, i64)>,
}

/// C2.1 and C2.2: moves progress and chain of all partitions of a batch, each by one UNNEST, and says whether every
/// partition was still ours at the expected offset. `false` means fenced: the caller rolls back.
pub(super) async fn advance(db: &mut PgConnection, group: &str, moves: &[Move]) -> Result<bool, sqlx::Error> {
    if moves.is_empty() {
        return Ok(true);
    }
    let adopted;
    let moves = if harm::sabotaged(Sabotage::NoEpochCheck) {
        adopted = adopt(db, group, moves).await?;
        &adopted
    } else {
        moves
    };
    let links: Vec<(&TopicPartition, &str, i64)> =
        moves.iter().flat_map(|m| m.links.iter().map(|(src, seq)| (&m.at, src.as_str(), *seq))).collect();
    let moved: i64 = sqlx::query_scalar(
        "WITH moved AS (
             UPDATE progress p SET next_offset = m.to_offset, last_hash = m.hash
             FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
                  AS m (topic, partition, epoch, from_offset, to_offset, hash)
             WHERE p.consumer_group = $1 AND p.topic = m.topic AND p.partition = m.partition
               AND p.epoch = m.epoch AND p.next_offset = m.from_offset
             RETURNING 1),
         linked AS (
             INSERT INTO chain (consumer_group, topic, partition, src, last_seq)
             SELECT $1, topic, partition, src, seq FROM unnest($8::text[], $9::int[], $10::text[], $11::bigint[]) AS l (topic, partition, src, seq)
             ORDER BY topic, partition, src
             ON CONFLICT (consumer_group, topic, partition, src) DO UPDATE SET last_seq = excluded.last_seq)
         SELECT count(*) FROM moved",
    )
    .bind(group)
    .bind(moves.iter().map(|m| m.at.topic.as_str()).collect::<Vec<_>>())
    .bind(moves.iter().map(|m| m.at.partition).collect::<Vec<_>>())
    .bind(moves.iter().map(|m| m.epoch).collect::<Vec<_>>())
    .bind(moves.iter().map(|m| m.from).collect::<Vec<_>>())
    .bind(moves.iter().map(|m| m.to).collect::<Vec<_>>())
    .bind(moves.iter().map(|m| m.hash).collect::<Vec<_>>())
    .bind(links.iter().map(|l| l.0.topic.as_str()).collect::<Vec<_>>())
    .bind(links.iter().map(|l| l.0.partition).collect::<Vec<_>>())
    .bind(links.iter().map(|l| l.1).collect::<Vec<_>>())
    .bind(links.iter().map(|l| l.2).collect::<Vec<_>>())
    .fetch_one(db)
    .await?;
    Ok(usize::try_from(moved) == Ok(moves.len()))
}

/// Sabotage: the moves as if the rows' own epochs and offsets were the ones expected.
async fn adopt(db: &mut PgConnection, group: &str, moves: &[Move]) -> Result<Vec<Move>, sqlx::Error> {
    let mut adopted = Vec::with_capacity(moves.len());
    for m in moves {
        let found = sqlx::query_as(
            "SELECT epoch, next_offset FROM progress WHERE consumer_group = $1 AND topic = $2 AND partition = $3 FOR UPDATE",
        );
        let (epoch, from) = found.bind(group).bind(&m.at.topic).bind(m.at.partition).fetch_one(&mut *db).await?;
        adopted.push(Move { epoch, from, ..m.clone() });
    }
    Ok(adopted)
}

/// What became of a batch whose COMMIT got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is in the database.
    Committed,
    /// It is not: the same batch again.
    RolledBack,
    /// Somebody else owns a partition.
    Fenced,
}

/// C4: reads the progress rows on another connection, waiting for the old backend by their locks.
pub(super) async fn settle(pool: &PgPool, group: &str, moves: &[Move]) -> Result<Settled, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let rows = sqlx::query(
        "SELECT topic, partition, next_offset, epoch FROM progress WHERE consumer_group = $1 ORDER BY topic, partition FOR UPDATE",
    )
    .bind(group)
    .fetch_all(&mut *tx)
    .await?;
    tx.rollback().await?;
    let mut at_end = 0;
    for m in moves {
        let Some(row) = rows.iter().find(|row| {
            row.try_get::<&str, _>("topic").is_ok_and(|t| t == m.at.topic)
                && row.try_get::<i32, _>("partition").is_ok_and(|p| p == m.at.partition)
        }) else {
            return Ok(Settled::Fenced);
        };
        let (next, epoch): (i64, i64) = (row.try_get("next_offset")?, row.try_get("epoch")?);
        if epoch != m.epoch || (next != m.from && next != m.to) {
            return Ok(Settled::Fenced);
        }
        if next == m.to {
            at_end += 1;
        }
    }
    Ok(if at_end == moves.len() { Settled::Committed } else { Settled::RolledBack })
}

/// Notes that the partitions were read to their end, for the deadlines' sake: at least `behind` before now.
pub(super) async fn caught_up(pool: &PgPool, group: &str, owner: &str, partitions: &[(TopicPartition, i64)]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE progress p SET caught_up_at = clock_timestamp() - interval '2 seconds'
         FROM unnest($3::text[], $4::int[], $5::bigint[]) AS c (topic, partition, epoch)
         WHERE p.consumer_group = $1 AND p.owner = $2 AND p.topic = c.topic AND p.partition = c.partition AND p.epoch = c.epoch",
    )
    .bind(group)
    .bind(owner)
    .bind(partitions.iter().map(|(at, _)| at.topic.as_str()).collect::<Vec<_>>())
    .bind(partitions.iter().map(|(at, _)| at.partition).collect::<Vec<_>>())
    .bind(partitions.iter().map(|(_, epoch)| *epoch).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}
