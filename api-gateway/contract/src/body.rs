use std::fmt;

use aws_lc_rs::digest;
use serde::de::DeserializeOwned;

use crate::{Code, Fault, Pointer, Problem, decode, json};

/// Most faults that are answered for one body.
const FAULTS_MAX: usize = 20;

/// A request body: decoded into a strict wire type, then checked into a type whose values are valid.
pub trait Body: Sized {
    /// Most bytes the route takes.
    const BYTES_MAX: usize;

    /// The shape of the JSON; refuses unknown fields.
    type Wire: DeserializeOwned;

    /// Checks every value of `wire` and puts what is wrong into `faults`. `None` only if there is at least one.
    fn check(wire: Self::Wire, faults: &mut Faults) -> Option<Self>;

    /// Feeds what the body says, not how it is written, to the hash. Frozen: a change makes every repeated request a
    /// reused key.
    fn feed(&self, canonical: &mut Canonical);
}

/// Reads, decodes and checks `bytes`.
///
/// # Errors
/// The problem to answer, with a pointer for each fault: one for bytes that do not decode, up to 20 for values out of
/// their rules. Nothing in it repeats a value of the body.
pub fn parse<T: Body>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.len() > T::BYTES_MAX {
        return Err(too_large(T::BYTES_MAX));
    }
    let wire = json::read(bytes).and_then(|node| decode::decode::<T::Wire>(&node));
    let wire = wire.map_err(|fault| Problem::of_faults(vec![fault]))?;
    let mut faults = Faults::default();
    match T::check(wire, &mut faults) {
        Some(body) if faults.list.is_empty() => Ok(body),
        Some(_) | None => Err(Problem::of_faults(faults.list)),
    }
}

pub(crate) fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Code::BodyTooLarge).with_detail(format!("this path takes at most {bytes_max} bytes"))
}

/// The faults found so far in one body; keeps the first 20.
#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, pointer: Pointer, code: Code, detail: impl fmt::Display) {
        if self.list.len() < FAULTS_MAX {
            self.list.push(Fault::new(pointer, code, detail.to_string()));
        }
    }

    /// The value, or a fault with the error's text.
    pub fn keep<T, E: fmt::Display>(&mut self, result: Result<T, E>, pointer: impl FnOnce() -> Pointer, code: Code) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(pointer(), code, error);
                None
            }
        }
    }
}

/// SHA-256 of what a body says: equal for bodies that differ only in white space, order of members or escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestHash([u8; 32]);

impl RequestHash {
    /// The hash of `body`.
    pub fn of<T: Body>(body: &T) -> Self {
        let mut canonical = Canonical(digest::Context::new(&digest::SHA256));
        body.feed(&mut canonical);
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(canonical.0.finish().as_ref()) {
            *to = *from;
        }
        Self(hash)
    }

    /// The hash of a body with a part that no plain hash may be kept of: `mac` is that part's keyed hash.
    #[must_use]
    pub fn with_secret(&self, mac: &[u8]) -> Self {
        let mut both = digest::Context::new(&digest::SHA256);
        both.update(&self.0);
        both.update(mac);
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(both.finish().as_ref()) {
            *to = *from;
        }
        Self(hash)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The canonical form on its way into the hash: texts with their length before them, numbers in eight bytes, so that no
/// two different bodies have the same form.
#[expect(missing_debug_implementations, reason = "the digest state has none, and is of no use in a log")]
pub struct Canonical(digest::Context);

impl Canonical {
    /// A text.
    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    /// A number.
    pub fn number(&mut self, number: i64) {
        self.0.update(&number.to_be_bytes());
    }

    /// How many entries follow.
    pub fn count(&mut self, count: usize) {
        self.0.update(&u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes());
    }
}
