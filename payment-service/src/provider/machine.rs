//! The simulator's rules, pure: one call on the row of one key.

use std::time::Duration;

use values::{Currency, Money};

use super::Undone;

/// How a card behaves, told by its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Every call succeeds.
    Fine,
    /// The authorisation is declined.
    Declined,
    /// Every call is answered after [`SLOW`].
    Slow,
    /// The first two calls of each operation fail and do nothing.
    Flaky,
    /// The answer to the first call of each operation is lost after it was done.
    Timeout,
}

/// How long a slow card takes.
pub(crate) const SLOW: Duration = Duration::from_millis(300);

/// Calls of an operation that a flaky card fails.
const FLAKY_CALLS: i32 = 2;

impl Mood {
    /// The mood of a card.
    #[must_use]
    pub fn of_token(token: &str) -> Self {
        match token {
            "tok_declined" => Self::Declined,
            "tok_slow" => Self::Slow,
            "tok_flaky" => Self::Flaky,
            "tok_timeout" => Self::Timeout,
            _ => Self::Fine,
        }
    }

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Declined => "declined",
            Self::Slow => "slow",
            Self::Flaky => "flaky",
            Self::Timeout => "timeout",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Fine, Self::Declined, Self::Slow, Self::Flaky, Self::Timeout].into_iter().find(|mood| mood.as_str() == text)
    }
}

/// What the books say of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Called, and nothing came of it yet.
    None,
    Authorized,
    Captured,
    /// Given back before anything was taken.
    Voided,
    /// Given back after it was taken.
    Refunded,
    Declined,
    /// Voided before it was seen: nothing will ever be set aside under this key.
    Blocked,
}

impl State {
    /// As stored.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
            Self::Declined => "declined",
            Self::Blocked => "blocked",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Authorized, Self::Captured, Self::Voided, Self::Refunded, Self::Declined, Self::Blocked]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// The row of one key: what was done, and how often it was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) state: State,
    pub(crate) mood: Mood,
    pub(crate) amount_minor: i64,
    pub(crate) captured_minor: i64,
    pub(crate) refunded_minor: i64,
    /// Of the amounts; none while there is none.
    pub(crate) currency: Option<Currency>,
    pub(crate) authorize_calls: i32,
    pub(crate) capture_calls: i32,
    pub(crate) void_calls: i32,
}

/// A call on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Authorize { amount: Money, mood: Mood },
    Capture { amount: Money },
    Void,
}

/// A refusal, or no answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Declined(&'static str),
    Permanent(&'static str),
    Transient(&'static str),
}

/// What a call gets back, `None` where a success says nothing more, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) result: Result<Option<Undone>, Refusal>,
    pub(crate) after: Duration,
}

/// Makes `call` on the row of its key, if there is one. Returns the row to keep, if any, and the reply.
pub(crate) fn operate(row: Option<Operation>, call: Call) -> (Option<Operation>, Reply) {
    let Some(mut operation) = row.or_else(|| first_call(call)) else {
        let result = Err(Refusal::Permanent("not_authorized"));
        return (None, Reply { result, after: Duration::ZERO });
    };
    let calls = match call {
        Call::Authorize { .. } => &mut operation.authorize_calls,
        Call::Capture { .. } => &mut operation.capture_calls,
        Call::Void => &mut operation.void_calls,
    };
    *calls = calls.saturating_add(1);
    let calls = *calls;
    let after = if operation.mood == Mood::Slow { SLOW } else { Duration::ZERO };
    if operation.mood == Mood::Flaky && calls <= FLAKY_CALLS {
        return (Some(operation), Reply { result: Err(Refusal::Transient("the provider failed")), after });
    }
    let result = match call {
        Call::Authorize { amount, .. } => authorize(&mut operation, amount).map(|()| None),
        Call::Capture { amount } => capture(&mut operation, amount).map(|()| None),
        Call::Void => Ok(Some(void(&mut operation))),
    };
    let lost = operation.mood == Mood::Timeout && calls == 1;
    let result = if lost { Err(Refusal::Transient("the answer was lost")) } else { result };
    (Some(operation), Reply { result, after })
}

/// The row a first call makes. A capture of an unknown key leaves none.
fn first_call(call: Call) -> Option<Operation> {
    let mood = match call {
        Call::Authorize { mood, .. } => mood,
        Call::Void => Mood::Fine,
        Call::Capture { .. } => return None,
    };
    Some(Operation {
        state: State::None,
        mood,
        amount_minor: 0,
        captured_minor: 0,
        refunded_minor: 0,
        currency: None,
        authorize_calls: 0,
        capture_calls: 0,
        void_calls: 0,
    })
}

fn authorize(operation: &mut Operation, amount: Money) -> Result<(), Refusal> {
    match operation.state {
        State::None if operation.mood == Mood::Declined => {
            operation.state = State::Declined;
            Err(DECLINED)
        }
        State::None => {
            operation.state = State::Authorized;
            operation.amount_minor = amount.minor();
            operation.currency = Some(amount.currency());
            Ok(())
        }
        State::Authorized | State::Captured => {
            let same = operation.amount_minor == amount.minor() && operation.currency == Some(amount.currency());
            if same { Ok(()) } else { Err(Refusal::Permanent("key_reused")) }
        }
        State::Declined => Err(DECLINED),
        State::Voided | State::Refunded | State::Blocked => Err(VOIDED),
    }
}

fn capture(operation: &mut Operation, amount: Money) -> Result<(), Refusal> {
    match operation.state {
        State::Authorized if operation.currency == Some(amount.currency()) && amount.minor() <= operation.amount_minor => {
            operation.state = State::Captured;
            operation.captured_minor = amount.minor();
            Ok(())
        }
        State::Authorized => Err(Refusal::Permanent("amount_not_authorized")),
        State::Captured => {
            let same = operation.captured_minor == amount.minor() && operation.currency == Some(amount.currency());
            if same { Ok(()) } else { Err(Refusal::Permanent("key_reused")) }
        }
        State::None | State::Declined => Err(Refusal::Permanent("not_authorized")),
        State::Voided | State::Refunded | State::Blocked => Err(VOIDED),
    }
}

fn void(operation: &mut Operation) -> Undone {
    operation.state = match operation.state {
        State::None => State::Blocked,
        State::Authorized => State::Voided,
        State::Captured => {
            operation.refunded_minor = operation.captured_minor;
            State::Refunded
        }
        // A declined key stays declined: nothing can be set aside under it either.
        closed @ (State::Voided | State::Refunded | State::Declined | State::Blocked) => closed,
    };
    match operation.state {
        State::Refunded => {
            operation.currency.map_or(Undone::Voided, |currency| Undone::Refunded(Money::new(operation.refunded_minor, currency)))
        }
        State::None | State::Authorized | State::Captured | State::Voided | State::Declined | State::Blocked => Undone::Voided,
    }
}

const DECLINED: Refusal = Refusal::Declined("card_declined");
const VOIDED: Refusal = Refusal::Permanent("voided");

#[cfg(test)]
mod tests;
