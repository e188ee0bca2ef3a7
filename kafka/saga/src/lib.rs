//! Sagas as values: a definition, a pure machine that decides, and a fold that remembers.
//!
//! A saga is a business transaction across services. Its [`Definition`] lists the steps; [`decide`] turns an [`Input`] (a reply, a deadline, a cancel
//! request) into [`Event`]s; [`evolve`] folds them into a [`State`]. Nothing here performs IO, reads a clock or draws a random number: instants come in as
//! microseconds since the Unix epoch, and what must be sent is derived from the recorded events by [`actions`].
//!
//! # The rules the machine keeps
//! 1. Steps with a command are sent one after the other. A step that an event triggers elsewhere runs in parallel from the start; only its refusal or
//!    failure matters.
//! 2. Before the pivot's command is sent everything compensates, in parallel: every step that may have had an effect.
//! 3. A refused step has had no effect: nothing is sent for it, and a refusal also answers a compensation that is under way. A failed step is fenced by
//!    its participant; its compensation is sent only where it reaches outside ([`Compensation::outside_effect`]).
//! 4. A pivot that is sent and unanswered is *in doubt* when the saga is cancelled or its deadline passes: the compensation named by
//!    [`Kind::Pivot::undone_by`] goes out and decides. From then on the pivot's own `Done` no longer counts; the other compensations wait for that answer.
//! 5. After the pivot nothing is undone. A step or a compensation that is overdue makes the saga [`Status::Stuck`]; a late reply resumes it, or a person
//!    does: [`Input::Resume`] sends what is stuck again, [`Input::Abandon`] counts it as answered and goes on.
//! 6. Duplicate, late and out-of-order inputs cause no event.
//! 7. One decision: [`State::decision`] is confirmed or cancelled from the moment that is settled and never changes; the saga ends when every awaited
//!    answer is there.
//!
//! # How events map on records
//! | event | record | fields |
//! |---|---|---|
//! | [`Event::Started`] | `SagaStarted` | definition, shape version, first awaited step, its deadline |
//! | [`Event::StepRecorded`] | `SagaStepRecorded` | step, state, reason, deadline |
//! | [`Event::Ended`] | `SagaEnded` | outcome: `confirmed` or `cancelled` |
//!
//! The strings of `SagaStepRecorded.state` ([`StepState`]):
//!
//! | state | recorded when | reason | deadline | sends |
//! |---|---|---|---|---|
//! | `sent` | the step's turn has come: the step sent before it is done, and if that is the pivot, the saga is confirmed | | yes | the step's command |
//! | `done` | never by itself: said by the next `sent`, or by `SagaEnded{confirmed}` for the last step | | | |
//! | `refused` | the participant refused: no effect | why | | |
//! | `failed` | the participant gave the command up | its code | | |
//! | `expired` | no answer in time, before the pivot | `deadline` | | |
//! | `cancelled` | given up unanswered, because of a cancel request or of another step | why | | |
//! | `in_doubt` | the pivot is sent, unanswered, and the saga no longer wants it | why | | |
//! | `undoing` | it must be undone | | yes | the step's compensation |
//! | `undone` | its compensation was answered; for the pivot: the doubt ended | | | |
//! | `stuck` | no answer in time at or after the pivot, or refused there | why | | |
//! | `undo_stuck` | its compensation was not answered in time | `deadline` | | |
//! | `sent`, `undoing` | a person resumed what was stuck | why | yes | the same message again |
//! | `abandoned` | a person took over what was stuck; for a pivot that nothing undoes: `failed` | why | | |
//!
//! What a person decided names the person ([`Event::StepRecorded::by`]).
//!
//! ```
//! use saga::{Action, Answer, Compensation, Decision, Definition, Input, State, Step, advance};
//!
//! let definition = Definition::new("trip", 1, vec![
//!     Step::command("seat", "BookSeat").compensated_by(Compensation::command("CancelSeat")),
//!     Step::pivot("fare", "ChargeFare", None),
//! ])?;
//! let started = advance(&definition, State::default(), &Input::Start, 0);
//! assert_eq!(started.actions, [Action::send_command("seat", "BookSeat")]);
//! let booked = advance(&definition, started.state, &Input::reply("seat", Answer::Done), 1);
//! assert_eq!(booked.actions, [Action::send_command("fare", "ChargeFare")]);
//! let charged = advance(&definition, booked.state, &Input::reply("fare", Answer::Done), 2);
//! assert_eq!(charged.actions, [Action::Decide(Decision::Confirmed)]);
//! # Ok::<(), saga::Invalid>(())
//! ```
#![deny(missing_docs, clippy::arithmetic_side_effects)]

mod definition;
mod diagram;
mod event;
mod input;
mod machine;
mod state;

pub use definition::{Compensation, DEFAULT_DEADLINE, Definition, Invalid, Kind, SentBy, Step};
pub use event::{Event, Outcome, StepState, UnknownState};
pub use input::{Action, Answer, Input, Operator, message_name};
pub use machine::{CAUSE_DEADLINE, Turn, actions, advance, decide};
pub use state::{Armed, Awaited, CAUSE_FAILED, Decision, Progress, State, Status, awaited, evolve};
