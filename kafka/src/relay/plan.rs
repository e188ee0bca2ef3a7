//! Which of the rows just read may be published: a pure decision.
//!
//! All rows of a database transaction share one block number, `id / 8192`, drawn from a sequence *after* the transaction
//! had its own xid. Blocks therefore become visible out of order, and a number whose transaction rolled back never does.
//! The plan publishes whole blocks in the order of their numbers and stops at the first missing one. A missing block is
//! given up only when it is proven dead: the relay draws an xid of its own (the barrier) *after* it has seen a higher
//! block, so the missing block's owner, if there is one, has a lower xid; once the `xmin` of a snapshot has passed the
//! barrier, that owner has ended, and what this very snapshot does not show was rolled back.
//!
//! Source: PROTOCOLS 1.2 and 1.3 (L3); the snapshot's own `xmax` is not a safe barrier (it lost 7 rows of 43,681).

use std::time::{Duration, Instant};

/// Ids of one block: `outbox.id = block * BLOCK_IDS + ordinal`, ordinal from 1. Source: `outbox_append()` in `1001_core.sql`.
pub const BLOCK_IDS: i64 = 8192;
/// How long a block may be missing before the relay draws a barrier. Most gaps are writers about to commit. Source: PROTOCOLS 1.3 (L3).
pub const GAP_AGE: Duration = Duration::from_millis(10);
/// How long a block may be missing before the oldest writer is named in a warning. Source: PROTOCOLS 1.3 (L3).
pub const STALL_AGE: Duration = Duration::from_secs(1);
/// Rows of an ordinary read. Source: PROTOCOLS 1.3 (L3).
pub const READ_ROWS: usize = 1_000;
/// Rows of a read that must hold the largest block and one row more. Source: `outbox_tx_rows_check` (5,000) in `1001_core.sql`.
pub const READ_ROWS_MAX: usize = 5_001;

/// Where a row stands in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The row's id.
    pub id: i64,
    /// How many rows its transaction wrote.
    pub tx_rows: i32,
}

/// One read: what a single statement saw in a single snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// The rows above the cursor, by id, complete up to the last one.
    pub slots: &'a [Slot],
    /// `pg_snapshot_xmin` of the same statement: every transaction below it has ended.
    pub xmin: u64,
    /// Whether the row limit was reached, so that there may be more.
    pub truncated: bool,
}

/// A proof in the making: every block up to `block` was drawn by a transaction with an xid below `xid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// An xid of the relay's own, drawn after `block` was seen.
    pub xid: u64,
    /// The highest block seen before it was drawn.
    pub block: i64,
}

/// The first missing block below a visible one, remembered from read to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The missing block.
    pub block: i64,
    /// When it was first missed.
    pub since: Instant,
    /// Drawn once it has been missing for [`GAP_AGE`].
    pub barrier: Option<Barrier>,
    /// Whether the oldest writer has been named already.
    pub warned: bool,
}

/// What to do after publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Everything committed before the read is published once `emit` rows are: wait for a wake-up.
    Wait,
    /// The row limit cut the read: read on at once.
    More,
    /// The first block is larger than the read: read again at once with [`READ_ROWS_MAX`].
    Wider,
    /// A block is missing: read again shortly.
    Gap,
    /// A block has been missing for [`GAP_AGE`]: draw an xid, store it with [`Gap::settle`] and read again at once.
    Draw {
        /// The highest block that this read showed.
        seen: i64,
    },
}

/// The decision about one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How many of the rows, from the first, to publish in one Kafka transaction: whole blocks.
    pub emit: usize,
    /// How many dead block numbers lie among them.
    pub dead: u64,
    /// The gap to remember for the next read.
    pub gap: Option<Gap>,
    /// What comes after publishing.
    pub next: Next,
    /// Whether to warn now: no progress for [`STALL_AGE`].
    pub stalled: bool,
}

/// The rows break a rule of `outbox_append()`; nothing may be published past them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The block at fault.
    pub block: i64,
    /// The rule.
    pub what: &'static str,
}

impl Gap {
    /// The gap with its barrier: `xid` was drawn after a read showed block `seen`.
    #[must_use]
    pub fn settle(self, xid: u64, seen: i64) -> Self {
        Self { barrier: Some(Barrier { xid, block: seen }), ..self }
    }
}

impl Slot {
    /// The number of the row's block.
    #[must_use]
    pub fn block(self) -> i64 {
        self.id.div_euclid(BLOCK_IDS)
    }
}

/// Decides what of `read` to publish when everything up to block `cursor_block` has been published or is dead.
///
/// # Errors
/// [`Damage`] if a row is at or below the cursor, out of order, or its block has lost rows: never published past.
pub fn plan(cursor_block: i64, gap: Option<Gap>, read: Read<'_>, now: Instant) -> Result<Plan, Damage> {
    let settled = gap.and_then(|gap| gap.barrier).filter(|barrier| read.xmin > barrier.xid).map_or(cursor_block, |barrier| barrier.block);
    let mut emit = 0;
    let mut dead = 0;
    let mut expected = cursor_block + 1;
    let mut missing = None;
    let mut cut = false;
    while let Some(first) = read.slots.get(emit) {
        let block = first.block();
        if block < expected {
            return Err(Damage { block, what: "its rows are at or below the cursor or out of order" });
        }
        if block > expected && block - 1 > settled {
            missing = Some(expected);
            break;
        }
        let Some(rows) = whole(read.slots.get(emit..).unwrap_or_default(), read.truncated)? else {
            cut = true;
            break;
        };
        dead += block.abs_diff(expected);
        emit += rows;
        expected = block + 1;
    }
    let open = missing.map(|block| keep(gap, block, now));
    let age = open.map_or(Duration::ZERO, |gap| now.duration_since(gap.since));
    let stalled = age >= STALL_AGE && open.is_some_and(|gap| !gap.warned);
    let next = match (open, read.slots.last()) {
        (Some(gap), Some(last)) if gap.barrier.is_none() && age >= GAP_AGE => Next::Draw { seen: last.block() },
        (Some(_), _) => Next::Gap,
        (None, _) if cut && emit == 0 => Next::Wider,
        (None, _) if read.truncated => Next::More,
        (None, _) => Next::Wait,
    };
    let open = open.map(|gap| Gap { warned: gap.warned || stalled, ..gap });
    // A block behind a settled gap that the row limit cut: the wider read needs the same barrier.
    Ok(Plan { emit, dead, gap: open.or(gap.filter(|_| cut)), next, stalled })
}

/// The number of rows of the first block if it is whole; `None` if the row limit cut it.
fn whole(slots: &[Slot], truncated: bool) -> Result<Option<usize>, Damage> {
    let Some(first) = slots.first() else { return Ok(None) };
    let block = first.block();
    let damage = |what| Damage { block, what };
    let rows = usize::try_from(first.tx_rows).ok().filter(|rows| *rows > 0).ok_or_else(|| damage("its row count is not positive"))?;
    let held = slots.iter().take(rows);
    for (slot, id) in held.zip(block * BLOCK_IDS + 1..) {
        if slot.id != id || slot.tx_rows != first.tx_rows {
            return Err(damage("rows of it are missing or disagree about its size"));
        }
    }
    if slots.len() >= rows {
        Ok(Some(rows))
    } else if truncated {
        Ok(None)
    } else {
        Err(damage("its last rows are missing"))
    }
}

/// The gap at `block`: the one we had if it is the same, else a new one. A barrier that was drawn after a higher block
/// had been seen holds for every gap below that block.
fn keep(gap: Option<Gap>, block: i64, now: Instant) -> Gap {
    match gap {
        Some(gap) if gap.block == block => gap,
        Some(Gap { barrier: Some(barrier), .. }) if barrier.block >= block => {
            Gap { block, since: now, barrier: Some(barrier), warned: false }
        }
        Some(_) | None => Gap { block, since: now, barrier: None, warned: false },
    }
}

#[cfg(test)]
mod tests;
