use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Code, Faults, Pointer, limits};

/// Whom an order is for and where it goes. Personal: it does not print, is stored encrypted only, and can be erased.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// The person's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$", nullable = false)]
    pub name: Option<String>,
    /// Where the person is written to: something, an `@`, and something, without spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 3, max_length = 254, pattern = r"^[!-?A-~]+@[!-?A-~]+$", examples("ada@example.org"), nullable = false)]
    pub email: Option<String>,
    /// Where the goods go, on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$", nullable = false)]
    pub address: Option<String>,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contact(..)")
    }
}

impl Contact {
    /// A canonical form, for a keyed hash: equal for contacts that say the same.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = b"contact/1".to_vec();
        for field in [&self.name, &self.email, &self.address] {
            let text = field.as_deref().unwrap_or_default();
            bytes.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    /// The contact of a body; none when it says nothing. Whether there was a fault is in `faults`.
    pub(crate) fn check(wire: wire::Contact, at: &Pointer, faults: &mut Faults) -> Option<Self> {
        let name = check_text(wire.name, limits::NAME_CHARACTERS_MAX, &at.member("name"), faults);
        let address = check_text(wire.address, limits::ADDRESS_CHARACTERS_MAX, &at.member("address"), faults);
        let place = at.member("email");
        let email = check_text(wire.email, limits::EMAIL_CHARACTERS_MAX, &place, faults).filter(|email| {
            let plain = email.bytes().all(|byte| byte.is_ascii_graphic());
            let parts: Vec<&str> = email.split('@').collect();
            let good = plain && parts.len() == 2 && parts.iter().all(|part| !part.is_empty());
            if !good {
                faults.add(place.clone(), Code::InvalidText, "e-mail is not something@something in ASCII without spaces");
            }
            good
        });
        (name.is_some() || email.is_some() || address.is_some()).then_some(Self { name, email, address })
    }
}

/// The detail never repeats the text.
fn check_text(text: Option<String>, characters_max: usize, place: &Pointer, faults: &mut Faults) -> Option<String> {
    let text = text?;
    let fault = if text.is_empty() {
        "text is empty".to_owned()
    } else if text.chars().nth(characters_max).is_some() {
        format!("text is longer than {characters_max} characters")
    } else if text.chars().any(char::is_control) {
        "text has control characters".to_owned()
    } else {
        return Some(text);
    };
    faults.add(place.clone(), Code::InvalidText, fault);
    None
}

/// The JSON of a contact before its values are checked.
pub(crate) mod wire {
    use super::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct Contact {
        #[serde(default, deserialize_with = "given")]
        pub(super) name: Option<String>,
        #[serde(default, deserialize_with = "given")]
        pub(super) email: Option<String>,
        #[serde(default, deserialize_with = "given")]
        pub(super) address: Option<String>,
    }

    impl std::fmt::Debug for Contact {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Contact(..)")
        }
    }

    /// A member that is there has a value: null is another type.
    pub(crate) fn given<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
        T::deserialize(from).map(Some)
    }
}
