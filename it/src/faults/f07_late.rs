//! F7: an `EndTxn` that was stuck in a dead link arrives when another transaction of its producer is open.
//!
//! The proxy loses an `EndTxn` with its connection. The client asks again by itself and is answered, 500 ms later. The lost
//! frame is brought to the broker during the next transaction, between its data and its position, where it does the most
//! harm: as an abort it would take the data away and leave the position that says they are there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::outbox::{Child, Infra, Outbox, Writers};
use super::{Outcome, SOON, Session, patience, until};
use crate::proxy::{Act, END_TXN, Judge, Request, deliver, transactional_id};

/// `AddPartitionsToTxn`. Source: Kafka protocol guide.
const ADD_PARTITIONS: i16 = 24;
/// What the broker answers to a request of an older epoch: `INVALID_PRODUCER_EPOCH`, `PRODUCER_FENCED`.
const REFUSED: [i16; 2] = [47, 90];
/// Every so many `EndTxn` of a producer, one is lost.
const EVERY: u32 = 3;
/// Rows of a transaction: so many that the first are on their way before the position is queued.
const ROWS: i32 = 600;
/// After this the data of a transaction has reached the broker.
const ARRIVED: Duration = Duration::from_millis(300);

/// Where a producer's lost request is.
#[derive(Debug, Default)]
struct Track {
    ended: u32,
    lost: Option<Vec<u8>>,
    /// The client's second request has passed.
    repeated: bool,
    /// Partitions with data were added to the transaction that is open now.
    data: bool,
}

#[derive(Debug, Default)]
struct Seen {
    tracks: HashMap<Vec<u8>, Track>,
    /// The broker's codes for what came late.
    codes: Vec<i16>,
}

/// One service whose requests come late.
struct Lane {
    commit: bool,
    outbox: Outbox,
    relay: Child,
    writers: Writers,
    seen: Arc<Mutex<Seen>>,
}

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let sabotage = session.options().sabotage.clone();
    // a commit that comes late shows what its producer would have shown anyway, unless that one dies: losses are the aborts'
    let kinds: &[bool] = if sabotage.is_some() { &[false] } else { &[false, true] };
    let (each, beside) = if sabotage.is_some() { (10, 1) } else { session.size((20, 2), (500, 4)) };
    let mut dice = session.dice();
    let infra = session.infra().await?;
    let mut outcome = Outcome::default();
    let mut lanes = Vec::new();
    for commit in kinds.iter().flat_map(|commit| std::iter::repeat_n(*commit, beside)) {
        let outbox = Outbox::new(infra, "late").await?;
        let relay = Child::start(&outbox, "", sabotage.as_deref())?;
        let writers = Writers::start(&outbox, 2, 40 * u64::try_from(beside)?, Some(ROWS), &mut dice);
        lanes.push(Lane { commit, outbox, relay, writers, seen: Arc::default() });
    }
    let mut judges: Vec<Judge> = lanes.iter().map(|lane| judge(infra, &lane.outbox, lane.commit, Arc::clone(&lane.seen))).collect();
    infra.kafka.judge(Some(Box::new(move |request: &Request<'_>| {
        // a request belongs to one service at most
        judges.iter_mut().map(|judge| judge(request)).find(|act| !matches!(act, Act::Pass)).unwrap_or(Act::Pass)
    })));
    let wanted = each / beside;
    let late =
        until(&format!("{wanted} late requests of each service"), SOON + Duration::from_secs(8) * u32::try_from(wanted)?, || async {
            let come: Vec<usize> = lanes.iter().map(|lane| lock(&lane.seen).codes.len()).collect();
            Ok(if come.iter().all(|come| *come >= wanted) { Ok(()) } else { Err(format!("{come:?} came")) })
        })
        .await;
    infra.kafka.judge(None);
    late?;
    for commit in kinds {
        let kind = if *commit { "commits" } else { "aborts" };
        let (mut codes, mut doubts, mut lost) = (Vec::new(), 0, 0);
        while let Some(index) = lanes.iter().position(|lane| lane.commit == *commit) {
            let Lane { outbox, relay, writers, seen, .. } = lanes.swap_remove(index);
            writers.finish().await?;
            outbox.drained(patience(sabotage.is_some())).await?;
            doubts += relay.status().doubts;
            relay.kill().await?;
            codes.append(&mut lock(&seen).codes);
            let judgement = outbox.judge(&[]).await?;
            lost += judgement.torn;
            judgement.tell(&mut outcome);
        }
        outcome.reach(format!("late {kind}"), u64::try_from(codes.len())?);
        let refused = codes.iter().filter(|code| REFUSED.contains(code)).count();
        outcome.figures.push(format!("{refused} of {} late {kind} refused by the broker, {doubts} doubts", codes.len()));
        if sabotage.is_some() {
            let most = lost * 10 >= codes.len() * 9;
            outcome.broken.push(format!("{lost} losses by {} late {kind}: {}", codes.len(), if most { "90 % or more" } else { "few" }));
        } else {
            outcome.must(refused == codes.len(), || format!("the broker's answers to late {kind}: {codes:?}"));
        }
    }
    Ok(outcome)
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn judge(infra: &Infra, outbox: &Outbox, commit: bool, seen: Arc<Mutex<Seen>>) -> Judge {
    let port = infra.kafka.target();
    let (position, events) = (kafka::relay_topic(&outbox.service).into_bytes(), outbox.events.clone().into_bytes());
    let ours = format!("{}.relay.", outbox.service).into_bytes();
    Box::new(move |request: &Request<'_>| {
        if !matches!(request.api, END_TXN | ADD_PARTITIONS) {
            return Act::Pass;
        }
        let Some(id) = transactional_id(request.frame).filter(|id| id.starts_with(&ours)) else { return Act::Pass };
        let mut all = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let track = all.tracks.entry(id.to_vec()).or_default();
        if request.api == END_TXN {
            track.ended += 1;
            track.data = false;
            if track.lost.is_some() && !track.repeated {
                track.repeated = true;
                return Act::Pass;
            }
            if track.lost.is_some() {
                // the position went with the data: there was no moment between them; the next transaction may have one
                return Act::Pass;
            }
            if !track.ended.is_multiple_of(EVERY) {
                return Act::Pass;
            }
            let mut late = request.frame.to_vec();
            if let Some(last) = late.last_mut() {
                *last = u8::from(commit);
            }
            (track.lost, track.repeated) = (Some(late), false);
            return Act::Lose;
        }
        let holds = |name: &[u8]| request.frame.windows(name.len()).any(|part| part == name);
        let data = std::mem::replace(&mut track.data, true);
        // the position comes last; before it either data has gone ahead, or there is none: the sentinel of a new owner
        if track.repeated
            && holds(&position)
            && (data || !holds(&events))
            && let Some(late) = track.lost.take()
        {
            return come_late(late, port, ARRIVED, &seen);
        }
        Act::Pass
    })
}

/// The request in hand passes after the late one was answered.
fn come_late(late: Vec<u8>, port: u16, after: Duration, seen: &Arc<Mutex<Seen>>) -> Act {
    let seen = Arc::clone(seen);
    Act::Wait(Box::pin(async move {
        tokio::time::sleep(after).await;
        if let Ok(code) = deliver(&late, port).await {
            seen.lock().unwrap_or_else(PoisonError::into_inner).codes.push(code);
        }
    }))
}
