//! The effect worker: claims due effects, makes their calls, records their answers together.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use trace::names::attribute;
use trace::{Kind, Span};

use crate::effects::{EffectRow, Effects, LEASE, QUICK_TRIES, State};
use crate::failure::{Class, Failure};
use crate::group_commit::GroupCommit;
use crate::hands::{CALLS, Claimed};
use crate::message::Cause;
use crate::retry::Tiers;
use crate::store::{Retry, Units, retry_of};
use crate::unit::{EffectChange, Needs, Unit, Work};

/// Effects claimed at once at most.
const CLAIM: usize = 256;
/// How often due times and leases that ran out are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// Answers recorded in one transaction at most.
const RECORD: usize = 256;

/// How often one effect of a step is called whose breaker is open.
const PROBE: Duration = Duration::from_secs(1);

/// A finished round of tries.
struct Round<A> {
    effect: EffectRow,
    answer: Result<A, Failure>,
    /// The call's own span, for what its answer causes.
    trace: Option<trace::Context>,
}

/// Runs until `stop`, then waits for the calls under way.
pub async fn run<W: Work, E: Effects<W>>(units: Units, effects: Arc<E>, wake: Arc<Notify>, mut stop: watch::Receiver<bool>) {
    if E::STEPS.is_empty() {
        return;
    }
    let mut born = units.hands.open();
    let recorder = {
        let (units, effects) = (units.clone(), Arc::clone(&effects));
        GroupCommit::spawn(RECORD, CALLS * 2, move |rounds: Vec<Round<E::Answer>>| record(units.clone(), Arc::clone(&effects), rounds))
    };
    let begin = |claimed: Claimed| {
        let (effects, recorder, hands, wake) = (Arc::clone(&effects), recorder.clone(), Arc::clone(&units.hands), Arc::clone(&wake));
        tokio::spawn(async move {
            let Claimed { effect, permit } = claimed;
            let (trace, began) = (trace::begin(effect.trace), if trace::on() { trace::now() } else { SystemTime::UNIX_EPOCH });
            let answer = tries(|| effects.call(&effect)).await;
            tell(&effect, trace, began, answer.as_ref().err());
            if let Err(refused) = recorder.submit(Round { effect, answer, trace }).await {
                tracing::warn!(error = %refused, "an effect's answer is not recorded: it is called again when its lease runs out");
            }
            if hands.give_back(permit) {
                wake.notify_one();
            }
        });
    };
    let (mut look, mut probe_at) = (Instant::now(), Instant::now());
    while !*stop.borrow() {
        if look <= Instant::now() {
            // As long as everything that was asked for was had, there may be more.
            let more = due(&units, &mut probe_at).await;
            if more.is_empty() {
                look = Instant::now() + LOOK;
            }
            more.into_iter().for_each(&begin);
        }
        tokio::select! {
            Some(claimed) = born.recv() => {
                begin(claimed);
                while let Ok(claimed) = born.try_recv() {
                    begin(claimed);
                }
            }
            () = wake.notified() => look = Instant::now(),
            () = tokio::time::sleep_until(look) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
    units.hands.close();
    while let Ok(claimed) = born.try_recv() {
        begin(claimed);
    }
    // A call that outlives this belongs to the next worker once its lease runs out, under the same key.
    let all = u32::try_from(CALLS).unwrap_or(u32::MAX);
    drop(tokio::time::timeout(Duration::from_secs(5), units.hands.permits.acquire_many(all)).await);
}

/// Claims what is due: of steps whose breaker is open one at a time, now and then.
async fn due(units: &Units, probe_at: &mut Instant) -> Vec<Claimed> {
    let open: Vec<&'static str> = units.hands.breakers().open().collect();
    let mut claimed = claim(units, CLAIM, Steps::Except(&open)).await.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "claim effects");
        Vec::new()
    });
    if !open.is_empty() && *probe_at <= Instant::now() {
        *probe_at = Instant::now() + PROBE;
        for step in open {
            match claim(units, 1, Steps::Only(step)).await {
                Ok(probe) => claimed.extend(probe),
                Err(error) => tracing::warn!(error = %error, "claim an effect to probe with"),
            }
        }
    }
    claimed
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

/// The span of a call and its quick tries.
fn tell(effect: &EffectRow, context: Option<trace::Context>, began: SystemTime, failure: Option<&Failure>) {
    let Some(context) = context.filter(trace::Context::is_sampled) else { return };
    let span = Span::new(Kind::Client, format!("call {}", effect.step), context, effect.trace, began)
        .with(attribute::STEP, effect.step.clone())
        .with(attribute::CONVERSATION, effect.correlation.clone())
        .with(attribute::MESSAGE_ID, effect.key.to_string());
    let span = if effect.attempt > 0 { span.with(attribute::ATTEMPT, i64::from(effect.attempt)) } else { span };
    trace::emit([match failure {
        Some(failure) => span.failed(failure.code),
        None => span,
    }]);
}

/// Which steps are claimed.
#[derive(Clone, Copy)]
enum Steps<'a> {
    Except(&'a [&'static str]),
    Only(&'static str),
}

/// Marks due effects `calling`, at most `most` and as many as there are places, and commits that before any call. Only the
/// oldest open effect of a stream can be claimed.
async fn claim(units: &Units, most: usize, steps: Steps<'_>) -> Result<Vec<Claimed>, sqlx::Error> {
    let (except, only) = match steps {
        Steps::Except(open) => (open, None),
        Steps::Only(step) => (&[] as &[&str], Some(step)),
    };
    let mut permits = Vec::new();
    while permits.len() < most
        && let Some(permit) = units.hands.place()
    {
        permits.push(permit);
    }
    if permits.is_empty() {
        return Ok(Vec::new());
    }
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
         RETURNING e.stream, e.step, e.cause, e.correlation_id, e.key, e.request::text AS request, e.state, e.attempt, e.traceparent, e.undo_cause IS NOT NULL AS undo",
    )
    .bind(i64::try_from(permits.len()).unwrap_or(i64::MAX))
    .bind(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
    .bind(except)
    .bind(only)
    .fetch_all(&units.pool)
    .await?;
    rows.iter().zip(permits).map(|(row, permit)| Ok(Claimed { effect: EffectRow::from_row(row)?, permit })).collect()
}

/// Records a batch of answers in one unit, again until the database takes it.
async fn record<W: Work, E: Effects<W>>(units: Units, effects: Arc<E>, rounds: Vec<Round<E::Answer>>) -> Vec<()> {
    let open = judge::<W, E>(&units, &rounds);
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
fn judge<W: Work, E: Effects<W>>(units: &Units, rounds: &[Round<E::Answer>]) -> Vec<bool> {
    let mut breakers = units.hands.breakers();
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
    units.committed(&mut unit);
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
            unit.because(Cause { id: effect.cause, correlation: effect.correlation.clone(), step: Some(name), trace: round.trace });
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
            } else if give_up(unit, effects, (&effect, round.trace), name, failure) {
                EffectChange::Dead { effect: Box::new(effect), failure: failure.clone() }
            } else {
                EffectChange::Again { stream, step, delay_ms: millis(tiers.longest()) }
            }
        }
    };
    unit.effect_changes.push(change);
}

/// Asks the service whether the effect has a last try, and has it tell its saga. What it wrote is taken back when it fails.
fn give_up<W: Work, E: Effects<W>>(
    unit: &mut Unit<W>,
    effects: &E,
    (effect, trace): (&EffectRow, Option<trace::Context>),
    step: &'static str,
    failure: &Failure,
) -> bool {
    unit.begin_message();
    unit.because(Cause { id: effect.cause, correlation: effect.correlation.clone(), step: Some(step), trace });
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
