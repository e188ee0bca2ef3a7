//! Each defence switched off once: the named run must notice.

use std::collections::BTreeSet;
use std::path::Path;

use it::faults::{self, Options, Session};
use kafka::harm::Sabotage;

/// A line of the table.
struct Line {
    sabotage: String,
    fault: String,
    says: String,
}

fn table() -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SABOTAGE.md");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            Line { sabotage: cells[0].trim_end_matches('`').to_owned(), fault: cells[2].to_owned(), says: cells[3].to_owned() }
        })
        .collect()
}

#[test]
fn sabotage_table_and_switches_are_the_same() {
    let told: Vec<String> = table().into_iter().map(|line| line.sabotage).collect();
    let switches: BTreeSet<&str> = Sabotage::ALL.iter().map(|sabotage| sabotage.name()).collect();
    assert_eq!(told.iter().map(String::as_str).collect::<BTreeSet<_>>(), switches);
    assert_eq!(told.len(), switches.len(), "a sabotage is there twice");
}

pub(crate) async fn every_sabotage_is_caught() {
    let mut session = Session::new(Options { seed: 4_711, ..Options::default() });
    let mut missed = Vec::new();
    for line in table() {
        let fault = faults::named(&line.fault).unwrap().remove(0);
        session.sabotage(Some(&line.sabotage)).await;
        let outcome = faults::run_one(&mut session, &fault).await;
        eprintln!("{}: {}", line.sabotage, outcome.line(&fault, &session));
        let caught = outcome.broken.iter().any(|broken| broken.contains(&line.says));
        if outcome.passed() || !caught {
            missed.push(format!("{} in {}: \"{}\" was not said", line.sabotage, line.fault, line.says));
        }
    }
    session.spoil().await;
    assert!(missed.is_empty(), "sabotages that were not caught: {missed:#?}");
}
