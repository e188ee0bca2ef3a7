use std::fmt;

use serde::{Deserialize, Serialize};
use values::Quantity;

/// A number of units on a shelf: 0 to [`Units::MAX`], never negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Units(i64);

/// The number is negative or above [`Units::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("units are outside 0 to {}", Units::MAX)]
pub struct UnitsError;

impl Units {
    /// No units.
    pub const ZERO: Self = Self(0);
    /// The most units one product may have: 2^53 - 1, the largest whole number every reader of JSON keeps exact.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The number of units as wire and SQL types carry it.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The units after `delta` more (or fewer) of them.
    ///
    /// # Errors
    /// [`UnitsError`] when the result leaves 0 to [`Units::MAX`].
    pub fn changed(self, delta: i64) -> Result<Self, UnitsError> {
        self.0.checked_add(delta).ok_or(UnitsError)?.try_into()
    }
}

impl TryFrom<i64> for Units {
    type Error = UnitsError;

    fn try_from(units: i64) -> Result<Self, Self::Error> {
        if (0..=Self::MAX.0).contains(&units) { Ok(Self(units)) } else { Err(UnitsError) }
    }
}

impl From<Units> for i64 {
    fn from(units: Units) -> Self {
        units.0
    }
}

impl From<Quantity> for Units {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.units())
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Units, UnitsError};

    #[test]
    fn units_never_leave_their_range() {
        assert_eq!(Units::try_from(-1), Err(UnitsError));
        assert_eq!(Units::MAX.changed(1), Err(UnitsError));
        assert_eq!(Units::ZERO.changed(-1), Err(UnitsError));
        assert_eq!(Units::MAX.changed(i64::MAX), Err(UnitsError));
        assert_eq!(Units::MAX.changed(-Units::MAX.get()), Ok(Units::ZERO));
    }
}
