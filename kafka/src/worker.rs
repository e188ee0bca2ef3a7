//! The effect worker: claims due effects, makes their calls, records their answers together.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use crate::consumer::Windows;
use crate::effects::{EffectRow, Effects, LEASE, QUICK_TRIES, State};
use crate::failure::{Class, Failure};
use crate::group_commit::GroupCommit;
use crate::message::Cause;
use crate::retry::Tiers;
use crate::store::{Retry, Units, retry_of};
use crate::unit::{EffectChange, Needs, Unit, Work};

/// Calls under way at most, and effects claimed at once at most.
const CALLS: usize = 512;
const CLAIM: i64 = 256;
/// Answers recorded in one transaction at most.
const RECORD: usize = 256;

/// How often one effect of a step is called whose breaker is open.
const PROBE: Duration = Duration::from_secs(1);

/// Steps that fail alike so often that the outside must be down: they are not called, but for a probe, and no try counts.
#[derive(Debug, Default)]
struct Breakers {
    windows: Windows,
    open: BTreeSet<&'static str>,
}

impl Breakers {
    fn passed(&mut self, step: &'static str) {
        self.windows.passed(step);
        if self.open.remove(step) {
            self.windows.clear(step);
            tracing::info!(step, "breaker closes: a call was answered");
            metrics::gauge!("effect_breaker_open", "step" => step).set(0.0);
        }
    }

    /// Whether the step's breaker is open now.
    fn failed(&mut self, step: &'static str, code: &'static str) -> bool {
        if self.windows.failed(step, code) && self.open.insert(step) {
            tracing::error!(step, code, "breaker opens: too many calls fail alike, one is made each second until one is answered");
            metrics::counter!("effect_breaker_opened_total", "step" => step, "code" => code).increment(1);
            metrics::gauge!("effect_breaker_open", "step" => step).set(1.0);
        }
        self.open.contains(step)
    }
}

type Shared = Arc<Mutex<Breakers>>;

fn lock(breakers: &Shared) -> std::sync::MutexGuard<'_, Breakers> {
    // A panic elsewhere leaves counts that are whole.
    breakers.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    let breakers = Shared::default();
    let recorder = {
        let (units, effects, breakers) = (units.clone(), Arc::clone(&effects), Arc::clone(&breakers));
        GroupCommit::spawn(RECORD, CALLS * 2, move |rounds: Vec<Round<E::Answer>>| {
            record(units.clone(), Arc::clone(&effects), Arc::clone(&breakers), rounds)
        })
    };
    let mut probe_at = Instant::now();
    while !*stop.borrow() {
        let room = i64::try_from(permits.available_permits()).unwrap_or(CLAIM).min(CLAIM);
        let open: Vec<&'static str> = lock(&breakers).open.iter().copied().collect();
        let claimed = if room == 0 { Ok(Vec::new()) } else { claim(&units.pool, room, Steps::Except(&open)).await };
        let claimed = claimed.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "claim effects");
            Vec::new()
        });
        let mut claimed = claimed;
        if !open.is_empty() && room > 0 && probe_at <= Instant::now() {
            probe_at = Instant::now() + PROBE;
            for step in open {
                match claim(&units.pool, 1, Steps::Only(step)).await {
                    Ok(probe) => claimed.extend(probe),
                    Err(error) => tracing::warn!(error = %error, "claim an effect to probe with"),
                }
            }
        }
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

/// Which steps are claimed.
#[derive(Clone, Copy)]
enum Steps<'a> {
    Except(&'a [&'static str]),
    Only(&'static str),
}

/// Marks due effects `calling` and commits that before any call. Only the oldest open effect of a stream can be claimed.
async fn claim(pool: &PgPool, most: i64, steps: Steps<'_>) -> Result<Vec<EffectRow>, sqlx::Error> {
    let (except, only) = match steps {
        Steps::Except(open) => (open, None),
        Steps::Only(step) => (&[] as &[&str], Some(step)),
    };
    let rows = sqlx::query(
        "WITH due AS (
             SELECT e.stream, e.step FROM effects e
             WHERE e.state IN ('pending', 'calling', 'unknown')
               AND (CASE WHEN e.state = 'calling' THEN e.lease_until < clock_timestamp() ELSE e.due_at <= clock_timestamp() END)
               AND e.step <> ALL($3) AND ($4::text IS NULL OR e.step = $4)
               AND NOT EXISTS (SELECT 1 FROM effects o WHERE o.stream = e.stream AND o.pos < e.pos AND o.state IN ('pending', 'calling', 'unknown'))
             ORDER BY e.pos LIMIT $1 FOR UPDATE SKIP LOCKED)
         UPDATE effects e SET state = 'calling', lease_until = clock_timestamp() + $2 * interval '1 millisecond'
         FROM due WHERE e.stream = due.stream AND e.step = due.step
         RETURNING e.stream, e.step, e.cause, e.correlation_id, e.key, e.request::text AS request, e.state, e.attempt, e.undo_cause IS NOT NULL AS undo",
    )
    .bind(most)
    .bind(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
    .bind(except)
    .bind(only)
    .fetch_all(pool)
    .await?;
    rows.iter().map(EffectRow::from_row).collect()
}

/// Records a batch of answers in one unit, again until the database takes it.
async fn record<W: Work, E: Effects<W>>(units: Units, effects: Arc<E>, breakers: Shared, rounds: Vec<Round<E::Answer>>) -> Vec<()> {
    let open = judge::<W, E>(&breakers, &rounds);
    let mut wait = Duration::from_millis(10);
    for _ in 0..10 {
        match record_once(&units, effects.as_ref(), &rounds, &open).await {
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

/// Counts how the rounds ended; answers for which of them no try counts.
fn judge<W: Work, E: Effects<W>>(breakers: &Shared, rounds: &[Round<E::Answer>]) -> Vec<bool> {
    let mut breakers = lock(breakers);
    rounds
        .iter()
        .map(|round| match (E::STEPS.iter().find(|step| **step == round.effect.step), &round.answer) {
            (Some(step), Ok(_)) => {
                breakers.passed(step);
                false
            }
            (Some(step), Err(failure)) => breakers.failed(step, failure.code) || failure.class == Class::Infrastructure,
            (None, _) => false,
        })
        .collect()
}

async fn record_once<W: Work, E: Effects<W>>(
    units: &Units,
    effects: &E,
    rounds: &[Round<E::Answer>],
    open: &[bool],
) -> Result<(), sqlx::Error> {
    let mut tx = units.begin().await?;
    let mut needs: Needs<W> = Needs::default();
    for round in rounds {
        needs.effects(round.effect.stream.clone());
        effects.ask(&round.effect, &mut needs);
    }
    let mut unit = units.load(&mut tx, needs).await?;
    for (round, open) in rounds.iter().zip(open) {
        decide(&mut unit, effects, round, &units.retry.tiers, *open);
    }
    units.store(&mut tx, &mut unit).await?;
    tx.commit().await?;
    units.committed(&unit);
    Ok(())
}

/// What one round means. Only an effect that is still `calling` counts: a lease that ran out may have let another worker finish.
fn decide<W: Work, E: Effects<W>>(unit: &mut Unit<W>, effects: &E, round: &Round<E::Answer>, tiers: &Tiers, open: bool) {
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
                    EffectChange::Again {
                        stream,
                        step,
                        delay_ms: millis(tiers.after(effect.attempt.saturating_add(1), true).unwrap_or_default()),
                    }
                }
            }
        }
        // Undone while its outcome is unknown: the compensation's own effect undoes it outside, whatever it was.
        Err(_) if effect.undo => EffectChange::Done { stream, step },
        Err(failure) => {
            metrics::counter!("effect_failures_total", "step" => *name).increment(1);
            let attempt = effect.attempt.saturating_add(1);
            tracing::warn!(stream = %effect.stream, step = %effect.step, attempt, code = failure.code, error = %failure, "an effect failed");
            if open {
                EffectChange::Postpone { stream, step, delay_ms: millis(tiers.after(1, true).unwrap_or_default()) }
            } else if let Some(delay) = tiers.after(attempt, false) {
                EffectChange::Again { stream, step, delay_ms: millis(delay) }
            } else if give_up(unit, effects, &effect, name, failure) {
                EffectChange::Dead { effect: Box::new(effect), failure: failure.clone() }
            } else {
                EffectChange::Again { stream, step, delay_ms: millis(tiers.longest()) }
            }
        }
    };
    unit.effect_changes.push(change);
}

/// Asks the service whether the effect has a last try, and has it tell its saga. What it wrote is taken back when it fails.
fn give_up<W: Work, E: Effects<W>>(unit: &mut Unit<W>, effects: &E, effect: &EffectRow, step: &'static str, failure: &Failure) -> bool {
    unit.begin_message();
    unit.because(Cause { id: effect.cause, correlation: effect.correlation.clone(), step: Some(step) });
    match effects.give_up(unit, effect, failure) {
        Ok(given_up) => given_up,
        Err(error) => {
            tracing::error!(stream = %effect.stream, step = %effect.step, code = error.code, error = %error, "an effect cannot be given up and is called again");
            if !unit.take_back() {
                tracing::error!(stream = %effect.stream, step = %effect.step, "what giving it up wrote stays");
            }
            false
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
