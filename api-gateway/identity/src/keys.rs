//! The issuer's public keys, each with the algorithms it may be used with.

use std::collections::HashMap;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Most keys of a set that are kept; a provider has two to four.
const KEYS_MAX: usize = 32;

/// A key and what it may verify.
pub(crate) struct Key {
    pub(crate) decoding: DecodingKey,
    /// Fixed by the key, never taken from a token: a token that names another algorithm is refused.
    pub(crate) algorithm: Algorithm,
}

/// The keys by `kid`.
#[derive(Default)]
pub(crate) struct KeySet {
    keys: HashMap<String, Key>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWKS document. Keys that are of no use to us (for encryption, symmetric, of other curves, without `kid`) are left out.
    ///
    /// # Errors
    /// The document is no JWKS.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(text)?;
        let keys = document.keys.into_iter().filter_map(|key| usable(&serde_json::from_value(key).ok()?)).take(KEYS_MAX).collect();
        Ok(Self { keys })
    }

    pub(crate) fn get(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let kid = jwk.common.key_id.clone()?;
    let to_sign = jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let algorithm = algorithm(jwk)?;
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    to_sign.then_some((kid, Key { decoding, algorithm }))
}

/// The fixed list: RS256, PS256, ES256, `EdDSA`. RSA keys that do not say are for RS256, which RFC 9068 makes mandatory.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let said = jwk.common.key_algorithm;
    match (&jwk.algorithm, said) {
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Some(Algorithm::RS256),
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::PS256)) => Some(Algorithm::PS256),
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256)) if key.curve == EllipticCurve::P256 => {
            Some(Algorithm::ES256)
        }
        (AlgorithmParameters::OctetKeyPair(key), None | Some(KeyAlgorithm::EdDSA)) if key.curve == EllipticCurve::Ed25519 => {
            Some(Algorithm::EdDSA)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_signing_keys_of_the_fixed_list_are_kept() {
        let rsa = r#""kty":"RSA","n":"sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1WlUzewbgBHod5pcM9H95GQRV3JDXboIRROSBigeC5yjU1hGzHHyXss8UDprecbAYxknTcQkhslANGRUZmdTOQ5qTRsLAt6BTYuyvVRdhS8exSZEy_c4gs_7svlJJQ4H9_NxsiIoLwAEk7-Q3UXERGYw_75IDrGA84-lA_-Ct4eTlXHBIY2EaV7t7LjJaynVJCpkv4LKjTTAumiGUIuQhrNhZLuF_RJLqHpM2kgWFLU7-VTdL1VbC2tejvcI2BlMkEpk1BzBZI0KQB0GaDWFLN-aEAw3vRw","e":"AQAB""#;
        let set = format!(
            r#"{{"keys":[
                {{"kid":"plain",{rsa}}}, {{"kid":"rs","use":"sig","alg":"RS256",{rsa}}}, {{"kid":"ps","alg":"PS256",{rsa}}},
                {{"kid":"hs","kty":"oct","k":"c2VjcmV0"}}, {{"kid":"enc","use":"enc","alg":"RSA-OAEP",{rsa}}}, {{"kid":"rs512","alg":"RS512",{rsa}}},
                {{"kid":"other","kty":"AKP","alg":"ML-DSA-44","pub":"AA"}}, {{{rsa}}}, 17 ]}}"#
        );
        let set = KeySet::parse(set.as_bytes()).unwrap();
        assert_eq!(set.len(), 3);
        assert_eq!(set.get("plain").unwrap().algorithm, Algorithm::RS256);
        assert_eq!(set.get("rs").unwrap().algorithm, Algorithm::RS256);
        assert_eq!(set.get("ps").unwrap().algorithm, Algorithm::PS256);
        assert!(KeySet::parse(b"{}").is_err() && KeySet::parse(b"").is_err());
    }
}
