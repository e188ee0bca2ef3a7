//! A trace as a tree of lines.

use std::collections::{BTreeMap, BTreeSet};

use super::Span;

/// One line a span, children below their parents by their start: when it began and how long it took, in milliseconds from
/// the trace's start. Spans of other traces that link here, such as a relay's batches, come last.
pub(super) fn draw(spans: &[Span], linked: &[Span]) -> String {
    let known: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let mut children: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    let mut roots = Vec::new();
    for span in spans {
        match span.parent.as_deref().filter(|parent| known.contains(parent)) {
            Some(parent) => children.entry(parent).or_default().push(span),
            None => roots.push(span),
        }
    }
    let zero = spans.iter().map(|span| span.time_ns.0).min().unwrap_or_default();
    let mut lines = String::new();
    let mut open: Vec<(&Span, usize)> = roots.into_iter().rev().map(|span| (span, 0)).collect();
    while let Some((span, depth)) = open.pop() {
        lines.push_str(&line(span, depth, zero));
        open.extend(children.remove(span.id.as_str()).into_iter().flatten().rev().map(|child| (child, depth.saturating_add(1))));
    }
    for span in linked {
        lines.push_str(&line(span, 0, zero));
    }
    lines
}

fn line(span: &Span, depth: usize, zero: u64) -> String {
    let (began, took) = (span.time_ns.0.saturating_sub(zero), span.time_ns.1.saturating_sub(span.time_ns.0));
    let failed = span.error.as_ref().map(|error| format!("  failed: {error}")).unwrap_or_default();
    format!("{:>6} ms {:>5} ms  {}{} · {}{failed}\n", began / 1_000_000, took / 1_000_000, "  ".repeat(depth), span.service, span.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, name: &str, began_ms: u64) -> Span {
        Span {
            service: "orders".to_owned(),
            name: name.to_owned(),
            kind: "internal",
            trace: "t".to_owned(),
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            links: Vec::new(),
            attributes: BTreeMap::new(),
            error: (name == "c").then(|| "harmed".to_owned()),
            time_ns: (began_ms * 1_000_000, (began_ms + 2) * 1_000_000),
            schema_url: String::new(),
        }
    }

    #[test]
    fn children_stand_below_their_parents_in_time() {
        let spans =
            [span("1", Some("gone"), "a", 5), span("2", Some("1"), "b", 6), span("3", Some("2"), "c", 7), span("4", Some("1"), "d", 9)];
        let other = Span { trace: "u".to_owned(), ..span("9", None, "e", 10) };
        let expected = "     0 ms     2 ms  orders · a\n     1 ms     2 ms    orders · b\n     2 ms     2 ms      orders · c  failed: harmed\n     4 ms     2 ms    orders · d\n     5 ms     2 ms  orders · e\n";
        assert_eq!(draw(&spans, &[other]), expected);
    }
}
