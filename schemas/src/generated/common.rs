// Made by `cargo xtask schemas` from schemas/avro. Do not edit: change the schema and run it again.

//! Types of the namespace `common`.

use serde::{Deserialize, Serialize};

/// An amount of one currency. Whole minor units, never a fraction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// The amount in minor units of the currency (cents for USD).
    pub minor: i64,
    /// ISO 4217 code, three upper-case letters.
    pub currency: String,
}

/// A sensitive value, encrypted with AES-256-GCM so that losing the key forgets the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Which key sealed it; 1 to 64 characters.
    pub key_id: String,
    /// The nonce, 12 bytes, never used twice with one key.
    #[serde(with = "apache_avro::serde::bytes")]
    pub nonce: Vec<u8>,
    /// The ciphertext followed by its 16-byte authentication tag.
    #[serde(with = "apache_avro::serde::bytes")]
    pub bytes: Vec<u8>,
}
