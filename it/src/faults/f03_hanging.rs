//! F3b: a broker that was killed while it wrote the markers of a transaction can leave a partition without one
//! (decision 0002). Its readers stand still, and a service without traffic would never free them.
//!
//! Made on purpose here: the proxy has the broker add another partition to the transaction than the one that is written
//! to, so that this one gets no marker. The broker's check against it is switched off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::outbox::{Child, Infra, Outbox, PARTITIONS};
use super::{Outcome, SOON, Session};
use crate::proxy::{Act, Judge, Request};

/// `AddPartitionsToTxn`. Source: Kafka protocol guide.
const ADD_PARTITIONS: i16 = 24;
/// One key, so one partition.
const KEY: i32 = 1;

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    // where a sabotage is wanted, this relay suffers it too
    let sabotage = session.options().sabotage.clone();
    let infra = Infra::start(&[("transaction.partition.verification.enable", "false")]).await?;
    let outbox = Outbox::new(&infra, "hanging").await?;
    let mut db = outbox.db().await?;
    let relay = Child::start(&outbox, "", sabotage.as_deref())?;
    outbox.append(&mut db, KEY, 1, 2).await?;
    let cursor = outbox.progress(0, SOON).await?;
    let misled = Arc::new(AtomicU64::new(0));
    infra.kafka.judge(Some(mislead(&outbox.events, Arc::clone(&misled))));
    outbox.append(&mut db, KEY, 2, 2).await?;
    outbox.progress(cursor, SOON).await?;
    infra.kafka.judge(None);
    outcome.reach("partitions left without a marker", misled.load(Ordering::Relaxed));
    let before = outbox.judge(&[]).await?;
    anyhow::ensure!(before.missing.len() == 1, "no reader stands still: {before:?}");
    relay.kill().await?;
    let next = Child::start(&outbox, "", sabotage.as_deref())?;
    let freed = super::until("readers read on behind a new relay", Duration::from_secs(30), || async {
        let seen = outbox.judge(&[]).await?;
        Ok(if seen.missing.is_empty() { Ok(seen) } else { Err(format!("{} transactions are not visible", seen.missing.len())) })
    })
    .await;
    match freed {
        Ok(seen) => {
            outcome.figures.push(format!("{} recorded repeats freed the readers of a quiet partition", seen.recorded_repeats));
            seen.tell(&mut outcome);
        }
        Err(error) => outcome.broken.push(format!("{error:#}")),
    }
    next.kill().await?;
    infra.stack.shutdown().await;
    Ok(outcome)
}

/// Has the first transaction that writes to `topic` add another partition of it.
fn mislead(topic: &str, misled: Arc<AtomicU64>) -> Judge {
    let name = topic.as_bytes().to_vec();
    Box::new(move |request: &Request<'_>| {
        if request.api != ADD_PARTITIONS || misled.load(Ordering::Relaxed) > 0 {
            return Act::Pass;
        }
        match another_partition(request.frame, &name, 1) {
            Some(frame) => {
                misled.fetch_add(1, Ordering::Relaxed);
                let name = name.clone();
                // the client must believe that its own was added
                let change = move |answer: &mut Vec<u8>| {
                    if let Some(changed) = another_partition(answer, &name, PARTITIONS - 1) {
                        *answer = changed;
                    }
                };
                Act::Replace(frame, Box::new(change))
            }
            None => Act::Pass,
        }
    })
}

/// The same `AddPartitionsToTxn` (version 0), or its answer, with the partition `step` further for the only one of `topic`.
/// Source: Kafka protocol guide: in both, the number of partitions and the first of them follow a topic's name.
fn another_partition(frame: &[u8], topic: &[u8], step: i32) -> Option<Vec<u8>> {
    let after = frame.windows(topic.len()).position(|part| part == topic)? + topic.len();
    let number = |at: usize| Some(i32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
    if number(after)? != 1 {
        return None;
    }
    let other = (number(after + 4)? + step) % PARTITIONS;
    let mut changed = frame.to_vec();
    changed.get_mut(after + 4..after + 8)?.copy_from_slice(&other.to_be_bytes());
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_partition_is_exchanged_for_the_next() {
        let mut frame = b"....orders.events".to_vec();
        frame.extend(1_i32.to_be_bytes());
        frame.extend(2_i32.to_be_bytes());
        let changed = another_partition(&frame, b"orders.events", 1).unwrap();
        assert_eq!((changed.len(), &changed[frame.len() - 4..]), (frame.len(), [0; 4].as_slice()));
        assert!(another_partition(&frame, b"orders.saga", 1).is_none());
    }
}
