//! Sealing of sensitive fields: AES-256-GCM with the subject and field as associated data, so that a sealed value cannot
//! be moved to another subject.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;

/// A sealed value: which key, the nonce (12 bytes), ciphertext and tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Names the key.
    pub key_id: String,
    /// 12 random bytes.
    pub nonce: Vec<u8>,
    /// Ciphertext followed by the 16-byte tag.
    pub bytes: Vec<u8>,
}

/// Why a value could not be sealed or opened. Says nothing about the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key is not 64 hexadecimal digits.
    #[error("the sealing key is not 64 hexadecimal digits")]
    Key,
    /// No randomness or the cipher refused.
    #[error("seal a field")]
    Seal,
    /// Another key, another subject, or damaged bytes.
    #[error("open a sealed field of key {0}")]
    Open(String),
}

/// Seals and opens with one key.
pub struct Sealer {
    key_id: String,
    key: LessSafeKey,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Sealer {
    /// From 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn new(key_id: impl Into<String>, hex_key: &str) -> Result<Self, Error> {
        let bytes = hex::decode(hex_key.trim()).map_err(|_not_hex| Error::Key)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_length| Error::Key)?;
        Ok(Self { key_id: key_id.into(), key: LessSafeKey::new(key) })
    }

    /// Seals `plain` for `subject` and `field`.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn seal(&self, subject: &str, field: &str, plain: &[u8]) -> Result<Sealed, Error> {
        let mut nonce = [0_u8; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_unspecified| Error::Seal)?;
        let mut bytes = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(format!("{subject}/{field}")), &mut bytes)
            .map_err(|_unspecified| Error::Seal)?;
        Ok(Sealed { key_id: self.key_id.clone(), nonce: nonce.to_vec(), bytes })
    }

    /// Opens what [`Sealer::seal`] made for the same subject and field.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(&self, subject: &str, field: &str, sealed: &Sealed) -> Result<Vec<u8>, Error> {
        let refused = || Error::Open(sealed.key_id.clone());
        let nonce = Nonce::try_assume_unique_for_key(&sealed.nonce).map_err(|_length| refused())?;
        let mut bytes = sealed.bytes.clone();
        let plain = self.key.open_in_place(nonce, Aad::from(format!("{subject}/{field}")), &mut bytes).map_err(|_unspecified| refused())?;
        Ok(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_field_opens_only_for_its_subject() {
        let sealer = Sealer::new("k1", &"ab".repeat(32)).unwrap();
        let sealed = sealer.seal("order-1", "payment_token", b"tok_ok").unwrap();
        assert_ne!(sealed.bytes, b"tok_ok");
        assert_eq!(sealer.open("order-1", "payment_token", &sealed).unwrap(), b"tok_ok");
        assert_eq!(sealer.open("order-2", "payment_token", &sealed), Err(Error::Open("k1".to_owned())));
        assert!(Sealer::new("k1", "abc").is_err());
    }
}
