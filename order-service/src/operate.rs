//! Sagas of orders as operators see and move them. What a person decides is an input of the saga, written in a unit of its own.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kafka::ops::{Refusal, SagaStatus, Sagas, instant};
use kafka::{Cause, MessageId, Needs, Retry, Units, retry_of};
use operation::{Act, Acted, Awaited, Saga, SagaDetail, Step};
use saga::{Action, Decision, Event, Input, State, Status, awaited, message_name};
use tokio::time::sleep;
use values::OrderId;

use crate::steer::{OrderSaga, saga_stream};
use crate::store::{self, Rows, SagaRow};

/// Tries against concurrent writers and infrastructure errors.
const TRIES: u32 = 5;

impl Sagas for OrderSaga {
    fn list(&self, units: Units, status: SagaStatus, after: Option<String>, limit: i64) -> BoxFuture<'static, Result<Vec<Saga>, Refusal>> {
        async move {
            let after = after.map(|after| order(&after).map_err(|_none| Refusal::query("after: is no order"))).transpose()?;
            let mut db = units.pool().acquire().await?;
            let rows = match status {
                SagaStatus::Stuck => store::stuck_sagas(&mut db, after, limit).await?,
                SagaStatus::Running => store::running_sagas(&mut db, after, limit).await?,
            };
            Ok(rows.into_iter().map(shown).collect())
        }
        .boxed()
    }

    fn show(&self, units: Units, id: String) -> BoxFuture<'static, Result<SagaDetail, Refusal>> {
        let this = self.clone();
        async move { this.detail(&units, order(&id)?).await }.boxed()
    }

    fn resume(&self, units: Units, id: String, act: Act) -> BoxFuture<'static, Result<Acted, Refusal>> {
        let this = self.clone();
        async move {
            let input = Input::resume(act.who, act.why);
            this.moved(&units, order(&id)?, &input, act.execute).await
        }
        .boxed()
    }

    fn abandon(&self, units: Units, id: String, act: Act) -> BoxFuture<'static, Result<Acted, Refusal>> {
        let this = self.clone();
        async move {
            let input = Input::abandon(act.who, act.why);
            this.moved(&units, order(&id)?, &input, act.execute).await
        }
        .boxed()
    }
}

fn order(id: &str) -> Result<OrderId, Refusal> {
    id.parse().map_err(|_no_id: values::OrderIdError| Refusal::no_saga(id))
}

fn shown(row: SagaRow) -> Saga {
    Saga {
        id: row.id.to_string(),
        status: row.status,
        step: row.step,
        cause: row.cause,
        stuck_reason: row.stuck_reason,
        stuck_at: row.stuck_at.map(instant),
        deadline_at: row.due_at.map(instant),
        updated_at: instant(row.updated_at),
    }
}

fn status(state: &State) -> &'static str {
    match state.status() {
        Status::NotStarted => "not_started",
        Status::Running | Status::InDoubt | Status::Compensating => "running",
        Status::Stuck => "stuck",
        Status::Ended(_) => "ended",
    }
}

impl OrderSaga {
    async fn detail(&self, units: &Units, id: OrderId) -> Result<SagaDetail, Refusal> {
        let stream = saga_stream(id);
        // The row and the state are read under the stream's lock, so that they are of one moment.
        let mut tx = units.begin().await?;
        let mut needs: Needs<Rows> = Needs::default();
        needs.stream(stream.clone());
        let mut unit = units.load(&mut tx, needs).await?;
        let state: State = unit.state(&stream).map_err(|failure| Refusal::Defect(Box::new(failure)))?;
        let row = store::find_saga(&mut tx, id).await?.ok_or_else(|| Refusal::no_saga(&id.to_string()))?;
        tx.rollback().await?;
        let definition = self.definition();
        let wanted = awaited(definition, &state).into_iter().map(|next| Awaited {
            message_id: MessageId::of_step(&stream, &message_name(next.step, next.compensation)).to_string(),
            step: next.step.to_owned(),
            command: next.command.to_owned(),
            compensation: next.compensation,
            deadline_at: next.deadline_at.map(instant),
        });
        let step = |step: &saga::Step| Step {
            step: step.name.to_owned(),
            state: state.progress(step.name).map(|progress| progress.state.as_str().to_owned()),
        };
        // The row says where the saga last turned; the state where it is.
        let mut saga = shown(row);
        if let Some(next) = awaited(definition, &state).first() {
            saga.step = next.step.to_owned();
            saga.deadline_at = next.deadline_at.map(instant);
        }
        let (name, shape_version) = state.shape().map_or(("", 0), |shape| shape);
        Ok(SagaDetail {
            saga,
            definition: name.to_owned(),
            shape_version,
            decision: state.decision(definition).map(|decision| match decision {
                Decision::Confirmed => "confirmed".to_owned(),
                Decision::Cancelled { .. } => "cancelled".to_owned(),
            }),
            awaited: wanted.collect(),
            steps: definition.steps().iter().map(step).collect(),
        })
    }

    /// Has a person's decision taken by the saga; without `execute` it says what would be recorded and sent.
    async fn moved(&self, units: &Units, id: OrderId, input: &Input, execute: bool) -> Result<Acted, Refusal> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.move_once(units, id, input, execute).await {
                Err(Refusal::Database(error)) if attempt < TRIES && retry_of(&error) == Retry::Same => {
                    tracing::debug!(error = %error, attempt, order.id = %id, "move a stuck saga");
                    sleep(Duration::from_millis(20) * attempt).await;
                }
                done => return done,
            }
        }
    }

    async fn move_once(&self, units: &Units, id: OrderId, input: &Input, execute: bool) -> Result<Acted, Refusal> {
        let stream = saga_stream(id);
        let defect = |failure: kafka::Failure| Refusal::Defect(Box::new(failure));
        let mut tx = units.begin().await?;
        let mut needs: Needs<Rows> = Needs::default();
        Self::needs(id, &mut needs);
        let mut unit = units.load(&mut tx, needs).await?;
        let before: State = unit.state(&stream).map_err(defect)?;
        match before.status() {
            Status::NotStarted => return Err(Refusal::no_saga(&id.to_string())),
            Status::Stuck => {}
            Status::Running | Status::InDoubt | Status::Compensating | Status::Ended(_) => return Err(Refusal::not_stuck(status(&before))),
        }
        let turn = saga::advance(self.definition(), before, input, unit.now());
        let acted = Acted {
            executed: execute,
            id: id.to_string(),
            records: turn.events.iter().map(record).collect(),
            sends: turn.actions.iter().filter_map(sent).collect(),
            status: status(&turn.state).to_owned(),
        };
        if execute {
            // One decision a version of the stream: said twice, it is one message.
            let version = unit.version(&stream).map_err(defect)?;
            unit.because(Cause::new(MessageId::external(&stream, &format!("decided by a person at version {version}")), id.to_string()));
            self.take(&mut unit, id, input).map_err(defect)?;
            units.store(&mut tx, &mut unit).await?;
            tx.commit().await?;
            units.committed(&mut unit);
            tracing::warn!(order.id = %id, records = ?acted.records, "a person moved a stuck saga");
        }
        Ok(acted)
    }
}

fn record(event: &Event) -> String {
    match event {
        Event::Started { step, .. } => format!("{step} sent"),
        Event::StepRecorded { step, state, .. } => format!("{step} {state}"),
        Event::Ended { outcome, .. } => format!("ended {outcome}"),
    }
}

fn sent(action: &Action) -> Option<String> {
    match action {
        Action::Send { command, .. } => Some((*command).to_owned()),
        Action::Decide(_) => None,
    }
}
