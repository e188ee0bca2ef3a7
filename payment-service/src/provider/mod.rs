//! The payment provider as a port. What money does happens there; everything is asked for by a key, and asking again under the
//! same key asks for the same thing.

mod machine;
mod simulator;
mod store;

use std::fmt;

use uuid::Uuid;
use values::Money;

pub use machine::Mood;
pub use simulator::Simulator;

/// The key of one authorisation at the provider; its capture and its void go by the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthKey(Uuid);

impl AuthKey {
    /// The key as a UUID.
    #[must_use]
    pub const fn get(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for AuthKey {
    fn from(key: Uuid) -> Self {
        Self(key)
    }
}

impl fmt::Display for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What stands for the customer's card. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The secret, for the provider only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why the provider did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The card was refused. Asking again gets the same answer.
    #[error("the card was declined: {code}")]
    Declined {
        /// Why, as a stable code.
        code: String,
    },
    /// It cannot be done, now or later, and was not done.
    #[error("the provider refused: {code}")]
    Permanent {
        /// Why, as a stable code.
        code: String,
    },
    /// No answer: it may or may not have been done. Ask again under the same key.
    #[error("no answer from the provider: {reason}")]
    Transient {
        /// What is known of the reason.
        reason: String,
    },
}

/// How a void ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// Nothing was taken; nothing is set aside and nothing will be.
    Voided,
    /// This was taken and is given back.
    Refunded(Money),
}

/// The provider. Every call is idempotent by its key; a repeat of a finished call gets the finished call's answer.
pub trait Provider: Send + Sync + 'static {
    /// Sets `amount` aside on the card.
    ///
    /// # Errors
    /// [`Error`]; permanent with code `voided` after a void of the same key.
    fn authorize(&self, key: AuthKey, amount: Money, token: &Token) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes `amount` of what was set aside; the rest falls back.
    ///
    /// # Errors
    /// [`Error`], never declined; permanent when nothing or too little is set aside, or after a void.
    fn capture(&self, key: AuthKey, amount: Money) -> impl Future<Output = Result<(), Error>> + Send;

    /// Gives everything back and closes the key for ever, also a key never seen before.
    ///
    /// # Errors
    /// Only [`Error::Transient`].
    fn void(&self, key: AuthKey) -> impl Future<Output = Result<Undone, Error>> + Send;
}
