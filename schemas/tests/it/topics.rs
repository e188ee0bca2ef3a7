use std::collections::BTreeSet;

use schemas::{RECORDS, topics};

#[test]
fn every_record_is_on_exactly_one_topic() {
    for entry in RECORDS {
        let carriers: Vec<_> =
            topics::TOPICS.iter().filter(|topic| topic.records.contains(&entry.full_name)).map(|topic| topic.name).collect();
        assert_eq!(carriers, [entry.topic], "{}", entry.full_name);
    }
    let listed: Vec<_> = topics::TOPICS.iter().flat_map(|topic| topic.records).collect();
    let known: BTreeSet<_> = RECORDS.iter().map(|entry| &entry.full_name).collect();
    assert_eq!(listed.len(), known.len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_services_write_every_record_between_them() {
    let written: usize = topics::SERVICES.iter().map(|service| topics::records_of(service).count()).sum();
    assert_eq!(written, RECORDS.len());
    assert!(topics::TOPICS.iter().all(|topic| topics::SERVICES.contains(&topic.owner)));
}

/// What a person reads: change the file together with the table.
#[test]
fn the_table_is_the_golden_one() {
    let mut table = String::from("| topic | written by | key | record |\n|---|---|---|---|\n");
    for topic in topics::TOPICS {
        for (nth, record) in topic.records.iter().enumerate() {
            let (name, owner, key) = if nth == 0 { (topic.name, topic.owner, topic.key) } else { ("", "", "") };
            table.push_str(&format!("| {name} | {owner} | {key} | {record} |\n"));
        }
    }
    assert_eq!(table, include_str!("topics.golden.md"), "the table is now:\n{table}");
}
