use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A number of units asked for or received: 1 to 1,000,000, never zero and never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u32")]
pub struct Quantity(u32);

/// Why a number is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The number is outside the range.
    #[error("quantity is outside 1 to {}", Quantity::MAX)]
    OutOfRange,
    /// The text is not a whole number.
    #[error("quantity is not a whole number")]
    NotANumber,
}

impl Quantity {
    /// The smallest quantity, in units.
    pub const MIN: u32 = 1;
    /// The largest quantity, in units.
    pub const MAX: u32 = 1_000_000;

    /// The number of units.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number of units as wire and SQL types carry it.
    #[must_use]
    pub fn units(self) -> i64 {
        i64::from(self.0)
    }
}

impl TryFrom<u32> for Quantity {
    type Error = QuantityError;

    fn try_from(units: u32) -> Result<Self, Self::Error> {
        if (Self::MIN..=Self::MAX).contains(&units) { Ok(Self(units)) } else { Err(QuantityError::OutOfRange) }
    }
}

impl TryFrom<i64> for Quantity {
    type Error = QuantityError;

    fn try_from(units: i64) -> Result<Self, Self::Error> {
        u32::try_from(units).ok().and_then(|units| Self::try_from(units).ok()).ok_or(QuantityError::OutOfRange)
    }
}

impl From<Quantity> for u32 {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

impl From<Quantity> for i64 {
    fn from(quantity: Quantity) -> Self {
        quantity.units()
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QuantityError::NotANumber);
        }
        // Only digits are left, so what does not parse is a number too large or too small.
        text.parse::<i64>().ok().and_then(|units| Self::try_from(units).ok()).ok_or(QuantityError::OutOfRange)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_in_range_round_trips(units in Quantity::MIN..=Quantity::MAX) {
            let quantity = Quantity::try_from(units).unwrap();
            prop_assert_eq!(quantity.get(), units);
            prop_assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
            let json = serde_json::to_string(&quantity).unwrap();
            prop_assert_eq!(&json, &units.to_string());
            prop_assert_eq!(serde_json::from_str::<Quantity>(&json).unwrap(), quantity);
        }

        #[test]
        fn a_number_is_accepted_exactly_when_it_is_in_range(units in any::<i64>()) {
            prop_assert_eq!(Quantity::try_from(units).is_ok(), (1..=1_000_000).contains(&units));
            prop_assert_eq!(units.to_string().parse::<Quantity>().is_ok(), (1..=1_000_000).contains(&units));
        }
    }

    #[test]
    fn the_error_names_the_fault() {
        for text in ["0", "-1", "1000001", "99999999999999999999"] {
            assert_eq!(text.parse::<Quantity>(), Err(QuantityError::OutOfRange), "{text}");
        }
        for text in ["", "-", "1.5", "two", "+1"] {
            assert_eq!(text.parse::<Quantity>(), Err(QuantityError::NotANumber), "{text}");
        }
        assert!(serde_json::from_str::<Quantity>("0").unwrap_err().to_string().starts_with("quantity is outside 1 to 1000000"));
        assert!(serde_json::from_str::<Quantity>("1.0").is_err());
    }
}
