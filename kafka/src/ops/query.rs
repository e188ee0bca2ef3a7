//! The query of a list: known names once each, values in their range.

use actix_web::web::Query;
use jiff::Timestamp;
use operation::{Filter, Key, PAGE, PAGE_MAX};

use super::problem::Refusal;

/// What a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    pub(super) state: Option<String>,
    pub(super) status: Option<String>,
    /// As given; numbers are checked by [`Wanted::number`].
    pub(super) after: Option<String>,
    pub(super) limit: u32,
}

impl Wanted {
    /// Reads a query whose names must be among `allowed`.
    pub(super) fn read(query: &str, allowed: &[&str]) -> Result<Self, Refusal> {
        let pairs = Query::<Vec<(String, String)>>::from_query(query).map_err(|error| Refusal::query(error.to_string()))?;
        let mut wanted = Self { limit: PAGE, ..Self::default() };
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in pairs.into_inner() {
            if !allowed.contains(&name.as_str()) {
                return Err(Refusal::query(format!("{name} is unknown; known are {}", allowed.join(", "))));
            }
            if seen.contains(&name) {
                return Err(Refusal::query(format!("{name} is given twice")));
            }
            wanted.set(&name, value)?;
            seen.push(name);
        }
        Ok(wanted)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Refusal> {
        let filter = &mut self.filter;
        match name {
            "topic" => filter.topic = Some(value),
            "record" => filter.record = Some(value),
            "class" => filter.class = Some(value),
            "code" => filter.code = Some(value),
            "fingerprint" => filter.fingerprint = Some(value),
            "key" => filter.key = Some(Key(value)),
            "message_id" => filter.message_id = Some(value),
            "correlation" => filter.correlation = Some(value),
            "before" => {
                let instant: Timestamp = value.parse().map_err(|error| Refusal::query(format!("before: {error}")))?;
                filter.before = Some(instant);
            }
            "state" => self.state = Some(value),
            "status" => self.status = Some(value),
            "after" => self.after = Some(value),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                self.limit = limit.ok_or_else(|| Refusal::query(format!("limit is a number from 1 to {PAGE_MAX}")))?;
            }
            other => return Err(Refusal::query(format!("{other} is unknown"))),
        }
        Ok(())
    }

    /// `after` as a number; 0 when it is not given.
    pub(super) fn number(&self) -> Result<i64, Refusal> {
        let number = self.after.as_deref().map(str::parse).transpose();
        number.map(Option::unwrap_or_default).map_err(|error| Refusal::query(format!("after: {error}")))
    }
}

/// Names that say which letters.
pub(super) const FILTER: &[&str] = &["topic", "record", "class", "code", "fingerprint", "key", "message_id", "correlation", "before"];

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<&'static str> {
        [FILTER, &["after", "limit"]].concat()
    }

    #[test]
    fn what_is_given_is_read() {
        let query = "class=permanent&key=a%20b&before=2026-01-02T03%3A04%3A05.000006Z&after=7&limit=500";
        let wanted = Wanted::read(query, &names()).unwrap();
        assert_eq!((wanted.filter.class.as_deref(), wanted.filter.key.clone()), (Some("permanent"), Some(Key("a b".to_owned()))));
        assert_eq!(wanted.filter.before.unwrap().as_microsecond() % 1_000_000, 6);
        assert_eq!((wanted.number().ok(), wanted.limit), (Some(7), 500));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for query in ["odd=1", "limit=0", "limit=501", "limit=x", "class=a&class=b", "before=yesterday", "state=dead"] {
            assert!(Wanted::read(query, &names()).is_err(), "{query}");
        }
        assert!(Wanted::read("after=x", &names()).unwrap().number().is_err());
    }
}
