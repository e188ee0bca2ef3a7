//! The chain check: every record says which record of its source came before it in this partition (`prev`), so a gap, a
//! repeat or a stranger is seen without asking anybody. Pure.

use std::collections::HashMap;

/// A record's place in its source's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `<service>/<incarnation>`.
    pub src: String,
    /// The record's number at its source.
    pub seq: i64,
    /// The number of the record before it from this source in this partition, 0 for the first.
    pub prev: i64,
}

impl Link {
    /// Reads the three headers.
    #[must_use]
    pub fn read(src: Option<&str>, seq: Option<&str>, prev: Option<&str>) -> Option<Self> {
        Some(Self { src: src?.to_owned(), seq: seq?.parse().ok()?, prev: prev?.parse().ok()? })
    }
}

/// What the chain says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The next one: take it.
    Next,
    /// Seen before: skip it.
    Repeat,
    /// Something between it and the last one is missing.
    Gap,
    /// Not from the topic's owner.
    Foreign,
}

/// The last number seen of every source in one partition.
pub type Last = HashMap<String, i64>;

/// Judges `link` on a topic owned by `owner`. The first record of a source is taken at the start of its chain (`prev` 0) or
/// of the partition (offset 0).
#[must_use]
pub fn judge(owner: &str, last: &Last, link: Option<&Link>, offset: i64) -> Verdict {
    let Some(link) = link else { return Verdict::Foreign };
    if link.src.split_once('/').is_none_or(|(service, incarnation)| service != owner || incarnation.is_empty()) {
        return Verdict::Foreign;
    }
    match last.get(&link.src) {
        Some(&last) if link.seq <= last => Verdict::Repeat,
        Some(&last) if link.prev == last => Verdict::Next,
        None if link.prev == 0 || offset == 0 => Verdict::Next,
        Some(_) | None => Verdict::Gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(seq: i64, prev: i64) -> Link {
        Link { src: "orders/a".to_owned(), seq, prev }
    }

    #[test]
    fn only_the_owner_belongs_to_the_chain() {
        let last = Last::new();
        assert_eq!(judge("orders", &last, None, 5), Verdict::Foreign);
        assert_eq!(judge("payments", &last, Some(&link(1, 0)), 5), Verdict::Foreign);
        for src in ["orders", "orders/", "xorders/a"] {
            assert_eq!(judge("orders", &last, Some(&Link { src: src.to_owned(), seq: 1, prev: 0 }), 5), Verdict::Foreign, "{src}");
        }
    }

    #[test]
    fn a_first_record_must_start_the_chain_or_the_partition() {
        assert_eq!(judge("orders", &Last::new(), Some(&link(9, 0)), 7), Verdict::Next);
        assert_eq!(judge("orders", &Last::new(), Some(&link(9, 4)), 0), Verdict::Next);
        assert_eq!(judge("orders", &Last::new(), Some(&link(9, 4)), 7), Verdict::Gap);
    }

    proptest! {
        /// Whatever is repeated, dropped or swapped: what is taken is a prefix of what was written, each once, in order;
        /// and a drop never goes unseen while later records arrive.
        #[test]
        fn what_is_taken_is_a_prefix(picks in prop::collection::vec(0usize..12, 0..60)) {
            let written: Vec<Link> = (0..12).map(|i| link(10 * (i + 1), 10 * i)).collect();
            let (mut last, mut taken) = (Last::new(), Vec::new());
            for pick in picks {
                let record = &written[pick];
                match judge("orders", &last, Some(record), 1) {
                    Verdict::Next => { last.insert(record.src.clone(), record.seq); taken.push(record.clone()); }
                    Verdict::Repeat => prop_assert!(taken.contains(record)),
                    Verdict::Gap => prop_assert!(pick > taken.len()),
                    Verdict::Foreign => prop_assert!(false),
                }
            }
            prop_assert_eq!(&taken[..], &written[..taken.len()]);
        }
    }
}
