use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Quantity;

/// A currency by its ISO 4217 code, for example `USD`. The shape of the code is checked, not that the code is assigned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// The text is not three upper-case letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("currency is not three upper-case letters")]
pub struct CurrencyError;

impl Currency {
    /// The United States dollar, minor unit one cent.
    pub const USD: Self = Self(*b"USD");

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Letters A to Z are valid UTF-8, so the empty default is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl TryFrom<&str> for Currency {
    type Error = CurrencyError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_uppercase) => Ok(Self(letters)),
            Ok(_) | Err(_) => Err(CurrencyError),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = CurrencyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.as_str().try_into()
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.try_into()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl AsRef<str> for Currency {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Currency({self})")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An amount in minor units (cents) of one currency. May be negative; arithmetic is checked and never mixes currencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why two amounts cannot be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit into 64 bits of minor units.
    #[error("amount overflows")]
    Overflow,
    /// The two amounts are in different currencies.
    #[error("amounts in {left} and {right} do not mix")]
    Currencies {
        /// The currency of the amount on the left.
        left: Currency,
        /// The currency of the amount on the right.
        right: Currency,
    },
    /// The text is not `<minor units> <currency>`.
    #[error("amount is not whole minor units, a space and a currency")]
    Text,
}

impl Money {
    /// `minor` minor units of `currency`.
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in `currency`: where a sum starts.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor(&self) -> i64 {
        self.minor
    }

    /// The currency of the amount.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::Currencies`] when the currencies differ, [`MoneyError::Overflow`] when the sum does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// The difference, which may be negative.
    ///
    /// # Errors
    /// As [`Money::checked_add`].
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    /// The price of `quantity` units at this price a unit.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] when the product does not fit.
    pub fn checked_mul(self, quantity: Quantity) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_mul(quantity.units()).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    fn combine(self, other: Self, operation: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Currencies { left: self.currency, right: other.currency });
        }
        let minor = operation(self.minor, other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }
}

impl TryFrom<(i64, &str)> for Money {
    type Error = CurrencyError;

    /// From the pair that wire and SQL types carry: minor units and the currency's code.
    fn try_from((minor, currency): (i64, &str)) -> Result<Self, Self::Error> {
        Ok(Self::new(minor, currency.try_into()?))
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (minor, currency) = text.split_once(' ').ok_or(MoneyError::Text)?;
        match (minor.parse(), currency.parse()) {
            (Ok(minor), Ok(currency)) => Ok(Self::new(minor, currency)),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Err(MoneyError::Text),
        }
    }
}

/// Minor units, a space and the currency, `1250 USD`: no decimal point, because its place depends on the currency.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.minor, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency() -> impl Strategy<Value = Currency> {
        "[A-Z]{3}".prop_map(|text| text.parse().unwrap())
    }

    fn money() -> impl Strategy<Value = Money> {
        (any::<i64>(), currency()).prop_map(|(minor, currency)| Money::new(minor, currency))
    }

    proptest! {
        #[test]
        fn text_and_json_round_trip(amount in money()) {
            prop_assert_eq!(amount.to_string().parse::<Money>().unwrap(), amount);
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(&json, &format!(r#"{{"minor":{},"currency":"{}"}}"#, amount.minor(), amount.currency()));
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), amount);
        }

        #[test]
        fn a_currency_is_three_upper_case_letters(text in ".{0,4}") {
            let allowed = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
            prop_assert_eq!(text.parse::<Currency>().is_ok(), allowed);
        }

        #[test]
        fn sum_and_difference_are_exact_or_refused(a in any::<i64>(), b in any::<i64>(), currency in currency()) {
            let (left, right) = (Money::new(a, currency), Money::new(b, currency));
            let exact = |minor: Option<i64>| minor.map(|m| Money::new(m, currency)).ok_or(MoneyError::Overflow);
            prop_assert_eq!(left.checked_add(right), exact(a.checked_add(b)));
            prop_assert_eq!(left.checked_sub(right), exact(a.checked_sub(b)));
            prop_assert_eq!(left.checked_add(right), right.checked_add(left));
        }

        #[test]
        fn a_product_is_the_repeated_sum(minor in -1_000_000_i64..1_000_000, units in 1_u32..200) {
            let price = Money::new(minor, Currency::USD);
            let product = price.checked_mul(units.try_into().unwrap()).unwrap();
            let sum = (0..units).try_fold(Money::zero(Currency::USD), |sum, _| sum.checked_add(price)).unwrap();
            prop_assert_eq!(product, sum);
        }

        #[test]
        fn currencies_never_mix(a in money(), b in money()) {
            prop_assume!(a.currency() != b.currency());
            let refused = Err(MoneyError::Currencies { left: a.currency(), right: b.currency() });
            prop_assert_eq!(a.checked_add(b), refused);
            prop_assert_eq!(a.checked_sub(b), refused);
        }
    }

    #[test]
    fn the_error_names_the_fault() {
        let most = Money::new(i64::MAX, Currency::USD);
        let two = Quantity::try_from(2_u32).unwrap();
        assert_eq!(most.checked_mul(two).unwrap_err().to_string(), "amount overflows");
        let euro = Money::try_from((1, "EUR")).unwrap();
        assert_eq!(most.checked_add(euro).unwrap_err().to_string(), "amounts in USD and EUR do not mix");
        assert_eq!(Money::try_from((1, "eur")).unwrap_err().to_string(), "currency is not three upper-case letters");
        assert!(serde_json::from_str::<Money>(r#"{"minor":1,"currency":"USD","scale":2}"#).is_err());
        for text in ["", "12", "12USD", "1.5 USD", "12 usd"] {
            assert_eq!(text.parse::<Money>(), Err(MoneyError::Text), "{text}");
        }
    }
}
