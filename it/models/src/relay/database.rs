//! The source's database: transactions that draw an xid, lock their aggregate, draw a block number and end either way.

use kafka::relay::plan::{BLOCK_IDS, Slot};

use crate::two::Nth;

/// One outbox row of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The aggregate it speaks of; its transaction holds the aggregate's lock from the append to its end.
    pub aggregate: char,
    /// Partition of the topic, fixed by the key.
    pub partition: Nth,
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tx {
    /// Not begun.
    Waiting,
    /// It has its xid (its first write), and no outbox row yet.
    Begun {
        /// Its xid.
        xid: u64,
    },
    /// `outbox_append()` was called: the block is drawn, nobody sees the rows.
    Appended {
        /// Its xid.
        xid: u64,
        /// Its block number.
        block: i64,
    },
    /// Its rows are visible.
    Committed {
        /// Its xid.
        xid: u64,
        /// Its block number.
        block: i64,
    },
    /// Its block number is dead.
    RolledBack {
        /// Its block number.
        block: i64,
    },
}

impl Tx {
    /// The block of a transaction that drew one.
    #[must_use]
    pub const fn block(self) -> Option<i64> {
        match self {
            Self::Waiting | Self::Begun { .. } => None,
            Self::Appended { block, .. } | Self::Committed { block, .. } | Self::RolledBack { block } => Some(block),
        }
    }

    const fn running(self) -> Option<u64> {
        match self {
            Self::Begun { xid } | Self::Appended { xid, .. } => Some(xid),
            Self::Waiting | Self::Committed { .. } | Self::RolledBack { .. } => None,
        }
    }
}

/// One step of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The first write draws the xid.
    Begin,
    /// Locks the aggregate, then draws the block and writes the rows.
    Append,
    /// The rows become visible.
    Commit,
    /// They never do.
    RollBack,
}

/// What a read of the relay sees: visible rows with the xid of their transaction, and the snapshot's bounds.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// By id.
    pub rows: Vec<(Slot, u64)>,
    /// Every transaction below it has ended.
    pub xmin: u64,
    /// One above the highest xid that has ended: not above every running one.
    pub xmax: u64,
}

/// All transactions, in the order of the scenario.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Database {
    /// Where each stands.
    pub txs: Vec<Tx>,
}

impl Database {
    /// Nothing has begun.
    #[must_use]
    pub fn new(writers: usize) -> Self {
        Self { txs: vec![Tx::Waiting; writers] }
    }

    /// Xids are even numbers in the order they are drawn; the odd one above them is a barrier drawn now, so that drawing
    /// one leaves no trace in the state.
    fn drawn(&self) -> u64 {
        self.txs.iter().map(|tx| 2 * u64::from(*tx != Tx::Waiting)).sum()
    }

    /// An xid of the relay's own: above every xid drawn before, below every one drawn later.
    #[must_use]
    pub fn barrier(&self) -> u64 {
        self.drawn() + 1
    }

    fn next_block(&self) -> i64 {
        1 + self.txs.iter().filter_map(|tx| tx.block()).max().unwrap_or(0)
    }

    /// What `step` makes of transaction `at`, or `None` if it is not its turn.
    #[must_use]
    pub fn write(&self, scenario: &[&[Row]], at: usize, step: Write, keep_xids: bool) -> Option<Self> {
        let tx = *self.txs.get(at)?;
        let next = match (step, tx) {
            (Write::Begin, Tx::Waiting) => Tx::Begun { xid: self.drawn() + 2 },
            (Write::Append, Tx::Begun { xid }) if !self.locked(scenario, at) => Tx::Appended { xid, block: self.next_block() },
            // Nothing asks for the xid of an ended transaction, except an order by xid and a barrier that rests on xmax.
            (Write::Commit, Tx::Appended { xid, block }) => Tx::Committed { xid: if keep_xids { xid } else { 0 }, block },
            (Write::RollBack, Tx::Appended { block, .. }) => Tx::RolledBack { block },
            (Write::Begin | Write::Append | Write::Commit | Write::RollBack, _) => return None,
        };
        let mut after = self.clone();
        *after.txs.get_mut(at)? = next;
        Some(after)
    }

    /// Whether another transaction that has appended holds an aggregate that `at` needs.
    fn locked(&self, scenario: &[&[Row]], at: usize) -> bool {
        let wanted = scenario.get(at).copied().unwrap_or_default();
        scenario.iter().zip(&self.txs).any(|(rows, tx)| {
            matches!(tx, Tx::Appended { .. }) && rows.iter().any(|held| wanted.iter().any(|row| row.aggregate == held.aggregate))
        })
    }

    /// One statement, one snapshot.
    #[must_use]
    pub fn read(&self, scenario: &[&[Row]]) -> Snapshot {
        let mut rows = Vec::new();
        let mut ended = 0;
        for (tx, written) in self.txs.iter().zip(scenario) {
            if let Tx::Committed { xid, block } = *tx {
                ended = ended.max(xid);
                let tx_rows = i32::try_from(written.len()).unwrap_or(i32::MAX);
                rows.extend((1..).take(written.len()).map(|ord| (Slot { id: block * BLOCK_IDS + ord, tx_rows }, xid)));
            }
        }
        rows.sort_unstable_by_key(|(slot, _)| slot.id);
        let xmin = self.txs.iter().filter_map(|tx| tx.running()).min().unwrap_or_else(|| self.drawn() + 2);
        Snapshot { rows, xmin, xmax: ended + 1 }
    }

    /// The row behind an id.
    #[must_use]
    pub fn row(&self, scenario: &[&[Row]], id: i64) -> Option<Row> {
        let at = self.txs.iter().position(|tx| tx.block() == Some(id / BLOCK_IDS))?;
        scenario.get(at)?.get(usize::try_from(id % BLOCK_IDS - 1).ok()?).copied()
    }
}
