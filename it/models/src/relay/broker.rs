//! The broker: two transactional ids with their epochs, one topic of two partitions, and the position topic.
//!
//! What it does with a late `EndTxn` was tried on Kafka 4.1 with librdkafka 2.12.1: the same epoch acts on whatever
//! transaction is open, a raised epoch is answered with error 47 and does nothing. Source: PROTOCOLS 0, finding 1.

use crate::two::{Nth, Two};

/// Error 47, `INVALID_PRODUCER_EPOCH`, or 90, `PRODUCER_FENCED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// How a transaction is to end, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// Visible to `read_committed`.
    Commit,
    /// Never visible.
    Abort,
}

/// An `EndTxn` request that is still on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    /// Which transactional id.
    pub producer: Nth,
    /// The epoch of its sender.
    pub epoch: u8,
    /// What it asks for.
    pub end: End,
}

/// A record of the topic. Aborted ones are not kept: nobody ever sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// `seq`: the outbox row's id.
    pub id: i64,
    /// `prev`: the id before it in this partition, 0 for the first.
    pub prev: i64,
    /// Whose transaction it is in; `None` once that is committed.
    pub open: Option<Nth>,
}

/// What the relay knows of its progress, as its position record says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// The last published row (under the order by xid: its transaction's xid).
    pub cursor: i64,
    /// The last id of each partition.
    pub prev: Two<i64>,
}

/// Everything the broker keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Broker {
    /// The newest epoch of each transactional id.
    pub epochs: Two<u8>,
    ended: Two<Option<End>>,
    /// The topic's partitions.
    pub log: Two<Vec<Record>>,
    /// The newest committed position.
    pub position: Position,
    pending: Two<Option<Position>>,
}

impl Broker {
    /// `InitProducerId`: whoever had the id before is fenced, its open transaction is aborted. The new epoch.
    pub fn init(&mut self, producer: Nth) -> u8 {
        self.apply(producer, End::Abort);
        *self.ended.get_mut(producer) = None;
        let epoch = self.epochs.get_mut(producer);
        *epoch += 1;
        *epoch
    }

    fn admit(&self, producer: Nth, epoch: u8) -> Result<(), Refused> {
        if *self.epochs.get(producer) == epoch { Ok(()) } else { Err(Refused) }
    }

    /// Produces one outbox row into the open transaction, or opens one.
    ///
    /// # Errors
    /// The epoch is old.
    pub fn produce(&mut self, producer: Nth, epoch: u8, partition: Nth, id: i64, prev: i64) -> Result<(), Refused> {
        self.admit(producer, epoch)?;
        self.log.get_mut(partition).push(Record { id, prev, open: Some(producer) });
        Ok(())
    }

    /// Produces the position record into the open transaction, or opens one.
    ///
    /// # Errors
    /// The epoch is old.
    pub fn produce_position(&mut self, producer: Nth, epoch: u8, position: Position) -> Result<(), Refused> {
        self.admit(producer, epoch)?;
        *self.pending.get_mut(producer) = Some(position);
        Ok(())
    }

    /// `EndTxn`. A repeat of what has already happened is answered like the first; anything else without an open transaction
    /// is an error as well.
    ///
    /// # Errors
    /// The epoch is old, or there is nothing to end.
    pub fn end(&mut self, frame: Frame) -> Result<(), Refused> {
        self.admit(frame.producer, frame.epoch)?;
        if self.open(frame.producer) {
            self.apply(frame.producer, frame.end);
            *self.ended.get_mut(frame.producer) = Some(frame.end);
            return Ok(());
        }
        if *self.ended.get(frame.producer) == Some(frame.end) { Ok(()) } else { Err(Refused) }
    }

    /// Whether a transaction of `producer` holds anything.
    #[must_use]
    pub fn open(&self, producer: Nth) -> bool {
        self.pending.get(producer).is_some() || self.log.iter().flatten().any(|record| record.open == Some(producer))
    }

    fn apply(&mut self, producer: Nth, end: End) {
        let position = self.pending.get_mut(producer).take();
        for nth in Nth::BOTH {
            let partition = self.log.get_mut(nth);
            match end {
                End::Commit => partition.iter_mut().filter(|record| record.open == Some(producer)).for_each(|record| record.open = None),
                End::Abort => partition.retain(|record| record.open != Some(producer)),
            }
        }
        if let (End::Commit, Some(position)) = (end, position) {
            self.position = position;
        }
    }

    /// The records of committed transactions, also those behind the last stable offset.
    pub fn committed(&self) -> impl Iterator<Item = &Record> {
        self.log.iter().flatten().filter(|record| record.open.is_none())
    }

    /// What a `read_committed` reader of one partition gets: nothing at or behind an open transaction.
    pub fn visible(&self, partition: Nth) -> impl Iterator<Item = &Record> {
        self.log.get(partition).iter().take_while(|record| record.open.is_none())
    }
}
