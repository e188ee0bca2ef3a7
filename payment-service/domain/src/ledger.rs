use values::Money;

use crate::{Event, Payment};

/// Where money is, in the double-entry books of one payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// The customer's card. Negative: set aside on it or taken from it.
    Customer,
    /// Set aside, not taken.
    Authorized,
    /// Taken: ours.
    Captured,
}

impl Account {
    /// Its name in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Authorized => "authorized",
            Self::Captured => "captured",
        }
    }
}

/// One side of a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub account: Account,
    /// How much more (or less) is there.
    pub amount: Money,
}

/// What `event` books on a payment that is `before`: the entries of one event add up to zero, and none is zero.
/// Empty where no money moves.
#[must_use]
pub fn entries(before: &Payment, event: &Event) -> Vec<Entry> {
    let moves = match event {
        Event::Authorized { amount } => vec![(*amount, Account::Customer, Account::Authorized)],
        Event::Captured { amount } => match before.open_authorization() {
            Some(authorized) => {
                let rest = Money::new(authorized.minor().saturating_sub(amount.minor()), authorized.currency());
                vec![(*amount, Account::Authorized, Account::Captured), (rest, Account::Authorized, Account::Customer)]
            }
            None => Vec::new(),
        },
        Event::Voided => before.open_authorization().map(|amount| (amount, Account::Authorized, Account::Customer)).into_iter().collect(),
        Event::Refunded { amount } => vec![(*amount, Account::Captured, Account::Customer)],
        Event::Declined { .. } | Event::StepFailed { .. } => Vec::new(),
    };
    let mut entries: Vec<Entry> = Vec::new();
    for (amount, from, to) in moves {
        for (account, minor) in [(from, amount.minor().saturating_neg()), (to, amount.minor())] {
            match entries.iter_mut().find(|entry| entry.account == account) {
                Some(entry) => entry.amount = Money::new(entry.amount.minor().saturating_add(minor), amount.currency()),
                None => entries.push(Entry { account, amount: Money::new(minor, amount.currency()) }),
            }
        }
    }
    entries.retain(|entry| entry.amount.minor() != 0);
    entries
}
