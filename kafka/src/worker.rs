//! The effect worker: claims due effects, makes their calls, records their answers together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio::sync::{Notify, Semaphore, watch};

use crate::effects::{EffectRow, Effects, LEASE, QUICK_TRIES, State, delay};
use crate::failure::Failure;
use crate::group_commit::GroupCommit;
use crate::message::Cause;
use crate::store::{Retry, Units, retry_of};
use crate::unit::{EffectChange, Needs, Unit, Work};

/// Calls under way at most, and effects claimed at once at most.
const CALLS: usize = 512;
const CLAIM: i64 = 256;
/// Answers recorded in one transaction at most.
const RECORD: usize = 256;

/// A finished round of tries.
struct Round<A> {
    effect: EffectRow,
    answer: Result<A, Failure>,
}

/// Runs until `stop`, then waits for the calls under way.
pub async fn run<W: Work, E: Effects<W>>(units: Units, effects: Arc<E>, wake: Arc<Notify>, mut stop: watch::Receiver<bool>) {
    if E::STEPS.is_empty() {
        return;
    }
    let permits = Arc::new(Semaphore::new(CALLS));
    let recorder = {
        let (units, effects) = (units.clone(), Arc::clone(&effects));
        GroupCommit::spawn(RECORD, CALLS * 2, move |rounds: Vec<Round<E::Answer>>| record(units.clone(), Arc::clone(&effects), rounds))
    };
    while !*stop.borrow() {
        let room = i64::try_from(permits.available_permits()).unwrap_or(CLAIM).min(CLAIM);
        let claimed = if room == 0 { Ok(Vec::new()) } else { claim(&units.pool, room).await };
        let claimed = claimed.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "claim effects");
            Vec::new()
        });
        let idle = claimed.is_empty();
        for effect in claimed {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let (effects, recorder, wake) = (Arc::clone(&effects), recorder.clone(), Arc::clone(&wake));
            tokio::spawn(async move {
                let answer = tries(|| effects.call(&effect)).await;
                if let Err(refused) = recorder.submit(Round { effect, answer }).await {
                    tracing::warn!(error = %refused, "an effect's answer is not recorded: it is called again when its lease runs out");
                }
                drop(permit);
                // The next effect of the stream may have waited for this one.
                wake.notify_one();
            });
        }
        if idle {
            // Due times and run-out leases are looked for twice a second; new effects poke.
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }
    // A call that outlives this belongs to the next worker once its lease runs out, under the same key.
    drop(tokio::time::timeout(Duration::from_secs(5), permits.acquire_many(u32::try_from(CALLS).unwrap_or(u32::MAX))).await);
}

/// One call and its quick tries.
async fn tries<A, F: Future<Output = Result<A, Failure>>>(call: impl Fn() -> F) -> Result<A, Failure> {
    let mut answer = call().await;
    for wait in QUICK_TRIES {
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(wait).await;
        answer = call().await;
    }
    answer
}

/// Marks due effects `calling` and commits that before any call. Only the oldest open effect of a stream can be claimed.
async fn claim(pool: &PgPool, most: i64) -> Result<Vec<EffectRow>, sqlx::Error> {
    let rows = sqlx::query(
        "WITH due AS (
             SELECT e.stream, e.step FROM effects e
             WHERE e.state IN ('pending', 'calling', 'unknown')
               AND (CASE WHEN e.state = 'calling' THEN e.lease_until < clock_timestamp() ELSE e.due_at <= clock_timestamp() END)
               AND NOT EXISTS (SELECT 1 FROM effects o WHERE o.stream = e.stream AND o.pos < e.pos AND o.state IN ('pending', 'calling', 'unknown'))
             ORDER BY e.pos LIMIT $1 FOR UPDATE SKIP LOCKED)
         UPDATE effects e SET state = 'calling', lease_until = clock_timestamp() + $2 * interval '1 millisecond'
         FROM due WHERE e.stream = due.stream AND e.step = due.step
         RETURNING e.stream, e.step, e.cause, e.correlation_id, e.key, e.request::text AS request, e.state, e.attempt, e.undo_cause IS NOT NULL AS undo",
    )
    .bind(most)
    .bind(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter().map(EffectRow::from_row).collect()
}

/// Records a batch of answers in one unit, again until the database takes it.
async fn record<W: Work, E: Effects<W>>(units: Units, effects: Arc<E>, rounds: Vec<Round<E::Answer>>) -> Vec<()> {
    let mut wait = Duration::from_millis(10);
    for _ in 0..10 {
        match record_once(&units, effects.as_ref(), &rounds).await {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(error = %error, "record the answers of effects");
                if retry_of(&error) != Retry::Same && rounds.len() == 1 {
                    break;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(1));
            }
        }
    }
    // What could not be recorded is called again, under the same key, when its lease runs out.
    rounds.iter().map(|_| ()).collect()
}

async fn record_once<W: Work, E: Effects<W>>(units: &Units, effects: &E, rounds: &[Round<E::Answer>]) -> Result<(), sqlx::Error> {
    let mut tx = units.begin().await?;
    let mut needs: Needs<W> = Needs::default();
    for round in rounds {
        needs.effects(round.effect.stream.clone());
        effects.ask(&round.effect, &mut needs);
    }
    let mut unit = units.load(&mut tx, needs).await?;
    for round in rounds {
        decide(&mut unit, effects, round);
    }
    units.store(&mut tx, &mut unit).await?;
    tx.commit().await?;
    units.committed(&unit);
    Ok(())
}

/// What one round means. Only an effect that is still `calling` counts: a lease that ran out may have let another worker finish.
fn decide<W: Work, E: Effects<W>>(unit: &mut Unit<W>, effects: &E, round: &Round<E::Answer>) {
    let Some(effect) =
        unit.effects(&round.effect.stream).iter().find(|e| e.step == round.effect.step && e.state == State::Calling).cloned()
    else {
        return;
    };
    let (stream, step) = (effect.stream.clone(), effect.step.clone());
    let Some(name) = E::STEPS.iter().find(|name| **name == step) else {
        tracing::error!(stream = %stream, step = %step, code = "effect_step_unknown", "an effect's step is none of this service's");
        return;
    };
    let change = match &round.answer {
        Ok(answer) => {
            unit.because(Cause { id: effect.cause, correlation: effect.correlation.clone(), step: Some(name) });
            match effects.record(unit, &effect, answer) {
                Ok(()) => EffectChange::Done { stream, step },
                Err(failure) => {
                    tracing::error!(stream = %effect.stream, step = %effect.step, code = failure.code, error = %failure, "an effect's answer cannot be recorded");
                    EffectChange::Again { stream, step, delay_ms: millis(delay(effect.attempt)) }
                }
            }
        }
        // Undone while its outcome is unknown: the compensation's own effect undoes it outside, whatever it was.
        Err(_) if effect.undo => EffectChange::Done { stream, step },
        Err(failure) => {
            metrics::counter!("effect_failures_total", "step" => *name).increment(1);
            tracing::warn!(stream = %effect.stream, step = %effect.step, attempt = effect.attempt, code = failure.code, error = %failure, "an effect failed and is called again later");
            EffectChange::Again { stream, step, delay_ms: millis(delay(effect.attempt)) }
        }
    };
    unit.effect_changes.push(change);
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
