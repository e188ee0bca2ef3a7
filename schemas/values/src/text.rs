use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What is wrong with the text of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// No characters at all.
    #[error("is empty")]
    Empty,
    /// More characters than allowed.
    #[error("is longer than {max} characters")]
    TooLong {
        /// The largest allowed length, in characters.
        max: usize,
    },
    /// A character outside the allowed set.
    #[error("has the character {character:?}, which is not allowed")]
    Character {
        /// The first such character.
        character: char,
    },
}

/// Checks length in characters before the characters themselves, so that a huge text costs no more than its length.
fn check(text: &str, max: usize, punctuation: &str) -> Result<(), TextFault> {
    if text.is_empty() {
        return Err(TextFault::Empty);
    }
    if text.chars().nth(max).is_some() {
        return Err(TextFault::TooLong { max });
    }
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !punctuation.contains(*c)) {
        Some(character) => Err(TextFault::Character { character }),
        None => Ok(()),
    }
}

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $(#[$error_doc:meta])* $error:ident, $noun:literal, $punctuation:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        $(#[$error_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error("{} {}", $noun, .0)]
        pub struct $error(pub TextFault);

        impl $name {
            /// The largest length, in characters.
            pub const LENGTH_MAX: usize = 64;

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                check(&text, Self::LENGTH_MAX, $punctuation).map_err($error)?;
                Ok(Self(text))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = $error;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                check(text, Self::LENGTH_MAX, $punctuation).map_err($error)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // Lets a map keyed by the id be asked with a plain `&str`: equality, order and hash are those of the text.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_value!(
    /// Who placed an order: 1 to 64 characters of `A-Z a-z 0-9 . _ @ -`.
    CustomerId,
    /// Why a text is no customer id.
    CustomerIdError,
    "customer id",
    "._@-"
);

text_value!(
    /// The stock keeping unit, the name of one product: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    Sku,
    /// Why a text is no SKU.
    SkuError,
    "sku",
    "._-"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_allowed_text_round_trips(text in "[A-Za-z0-9._-]{1,64}") {
            let sku: Sku = text.parse().unwrap();
            prop_assert_eq!(sku.as_str(), &text);
            let json = serde_json::to_string(&sku).unwrap();
            prop_assert_eq!(&json, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<Sku>(&json).unwrap(), sku);
            prop_assert_eq!(text.parse::<CustomerId>().unwrap().to_string(), text);
        }

        #[test]
        fn any_text_is_accepted_exactly_when_the_rule_holds(text in ".{0,70}") {
            let allowed = (1..=64).contains(&text.chars().count())
                && text.chars().all(|c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-'));
            prop_assert_eq!(text.parse::<Sku>().is_ok(), allowed);
            prop_assert_eq!(Sku::try_from(text).is_ok(), allowed);
        }
    }

    #[test]
    fn the_error_names_the_fault() {
        assert_eq!("".parse::<Sku>().unwrap_err().to_string(), "sku is empty");
        assert_eq!("a".repeat(65).parse::<Sku>().unwrap_err().to_string(), "sku is longer than 64 characters");
        assert_eq!("é".repeat(64).parse::<Sku>().unwrap_err(), SkuError(TextFault::Character { character: 'é' }));
        assert_eq!("a b".parse::<CustomerId>().unwrap_err().to_string(), "customer id has the character ' ', which is not allowed");
        assert!("ann@example.org".parse::<CustomerId>().is_ok());
        assert!("ann@example.org".parse::<Sku>().is_err());
    }
}
