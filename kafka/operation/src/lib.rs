//! What operators and the ops port of a service say to each other, as JSON. The runtime answers with these types; the CLI
//! and any console read them.
//!
//! | request | answer |
//! |---|---|
//! | `GET /ops/dlq/groups?…` | [`Groups`]: dead letters by what they have in common |
//! | `GET /ops/dlq/letters?…&after=&limit=` | [`Letters`]: a page of dead letters |
//! | `GET /ops/letters/{id}` | [`LetterDetail`]: one letter, decoded |
//! | `POST /ops/dlq/redrive`, `/ops/dlq/skip`, `/ops/dlq/abandon` with [`Decide`] | [`Decided`]: what became of each |
//! | `POST /ops/letters/{id}/edit` with [`Edit`] | [`Edited`] |
//! | `GET /ops/retry/waiting?…&after=&limit=` | [`Letters`]: who waits for what until when |
//! | `GET /ops/retry/effects?after=&limit=` | [`Effects`]: calls to the outside that wait to be tried again |
//! | `GET /ops/sagas?status=&after=&limit=` | [`Sagas`] |
//! | `GET /ops/sagas/{id}` | [`SagaDetail`] |
//! | `POST /ops/sagas/{id}/resume`, `/abandon` with [`Act`] | [`Acted`] |
//! | `GET /ops/rebuild` | [`Rebuild`]: whether the database must be rebuilt, from what, and how far that is |
//! | `POST /ops/rebuild` with [`Act`] | [`Rebuild`] |
//! | `POST /ops/subjects/{id}/erase` with [`Act`] | [`Erased`]: the keys of a person's data, destroyed |
//! | `GET /ops/stories/{id}` | [`Story`]: everything this service knows of one story |
//!
//! Where the service knows an identity provider, every path below `/ops` wants a bearer token: `ops:read` to look ([`Access::Read`]),
//! `ops:write` for what is posted, plans included. Health and metrics are open.
//!
//! Lists answer pages: `next` is the `after` of the next one, null at the end. Refusals are [`Problem`]s,
//! `application/problem+json` (RFC 9457). What changes something names who and why, and only does it with
//! `"execute": true`; without it the answer is the plan.
#![warn(missing_docs)]

mod access;
mod letter;
mod problem;
mod rebuild;
mod saga;
mod story;

pub use access::{Access, ROUTES};
pub use letter::{
    Body, Decide, Decided, Decision, Edit, Edited, Filter, Group, Groups, Header, Key, Letter, LetterDetail, Letters, Outcome, Target,
};
pub use problem::{Fault, Problem};
pub use rebuild::{Rebuild, RebuildCheck, RebuildPlan, RebuildProgress, RebuildTopic};
pub use saga::{Act, Acted, Awaited, Erased, Saga, SagaDetail, Sagas, Step};
pub use story::{Effect, Effects, Event, Story};

/// Entries of one page at most.
pub const PAGE_MAX: u32 = 500;
/// Entries of one page unless asked otherwise.
pub const PAGE: u32 = 100;
/// Letters of one decision at most.
pub const DECIDE_MAX: usize = 500;
