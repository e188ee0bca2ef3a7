//! Who asks, and what may they: access tokens of an OIDC provider (RFC 9068), checked the same way at the gateway and again in every service.
//!
//! All that is configured is the issuer and the audience. [`Door::admit`] turns the headers of a request into a [`Caller`] or into the
//! problem to answer; [`Verifier`] is the part below it that knows tokens and nothing of HTTP.
//!
//! What a token must have: a signature by a key of the issuer's set, named by `kid`, under an algorithm that this key allows (the token's
//! own `alg` chooses nothing); `iss` and `aud` as configured; `exp` and `nbf` that hold now; a `sub` that is a customer id. A token that
//! passed is remembered by its hash until it expires or its key is gone, so that a busy client costs one hash a request.
#![warn(missing_docs)]

mod door;
mod keys;
mod operators;
mod provider;
mod scope;
mod verifier;

pub use door::{Caller, Door, OpenDoor};
pub use operators::Operators;
pub use provider::ProviderError;
pub use scope::{Scope, Scopes};
pub use verifier::{Identity, Refused, Settings, Verifier};
