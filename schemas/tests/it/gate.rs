//! The compatibility gate says yes to what any version can read, and no, with the reason, to everything else.

use schemas::compat::{self, Incompatible, Reason};

const SUBJECT: &str = "shop.events-shop.Sold";

fn record(name: &str, fields: &str) -> String {
    format!(r#"{{"type":"record","name":"{name}","namespace":"shop","fields":[{fields}]}}"#)
}

fn sold(fields: &str) -> String {
    record("Sold", fields)
}

const UNITS: &str = r#"{"name":"units","type":"long"}"#;
const NOTE: &str = r#"{"name":"note","type":"string"}"#;
const NOTE_OR_NONE: &str = r#"{"name":"note","type":["null","string"],"default":null}"#;

fn refused(ours: &str, versions: &[(u32, String)]) -> Incompatible {
    compat::check(SUBJECT, ours, versions).unwrap_err()
}

fn reason(ours: &str, theirs: &str) -> Reason {
    refused(ours, &[(1, theirs.to_owned())]).reason
}

#[test]
fn the_first_version_and_the_same_version_pass() {
    let ours = sold(UNITS);
    compat::check::<String>(SUBJECT, &ours, &[]).unwrap();
    compat::check(SUBJECT, &ours, &[(1, &ours)]).unwrap();
}

#[test]
fn a_field_with_a_default_may_come_and_go() {
    let (with, without) = (sold(&format!("{UNITS},{NOTE_OR_NONE}")), sold(UNITS));
    compat::check(SUBJECT, &with, &[(1, &without)]).unwrap();
    compat::check(SUBJECT, &without, &[(1, &with)]).unwrap();
    compat::check(SUBJECT, &with, &[(1, &without), (2, &with), (3, &without)]).unwrap();
}

#[test]
fn docs_and_order_may_change() {
    let theirs = sold(&format!("{UNITS},{NOTE}"));
    let ours = sold(&format!(r#"{NOTE},{{"name":"units","type":"long","doc":"units sold"}}"#));
    compat::check(SUBJECT, &ours, &[(1, theirs)]).unwrap();
}

#[test]
fn a_removed_field_without_a_default_is_refused() {
    let error = refused(&sold(UNITS), &[(1, sold(UNITS)), (2, sold(&format!("{UNITS},{NOTE}")))]);
    assert_eq!(error.reason, Reason::RemovedWithoutDefault("note".to_owned()));
    assert_eq!((error.ours_version, error.theirs_version), (1, 2));
}

#[test]
fn an_added_field_without_a_default_is_refused() {
    let error = refused(&sold(&format!("{UNITS},{NOTE}")), &[(1, sold(UNITS))]);
    assert_eq!(error.reason, Reason::AddedWithoutDefault("note".to_owned()));
    assert_eq!(
        error.to_string(),
        "shop.events-shop.Sold: version 2 (ours) is not fully compatible with version 1: field `note` was added without a default"
    );
}

#[test]
fn the_check_is_transitive() {
    let first = sold(&format!("{UNITS},{NOTE}"));
    let second = sold(&format!(r#"{UNITS},{{"name":"note","type":"string","default":""}}"#));
    compat::check(SUBJECT, &second, &[(1, &first)]).unwrap();
    // The third fits the second, but what it writes cannot be read with the first.
    let third = sold(UNITS);
    compat::check(SUBJECT, &third, &[(2, &second)]).unwrap();
    let error = refused(&third, &[(1, first), (2, second)]);
    assert_eq!((error.ours_version, error.theirs_version), (3, 1));
    assert_eq!(error.reason, Reason::RemovedWithoutDefault("note".to_owned()));
}

#[test]
fn a_changed_type_is_refused() {
    let changed = |ours: &str, theirs: &str| {
        let field = |kind: &str| sold(&format!(r#"{{"name":"at","type":{kind}}}"#));
        let reason = reason(&field(ours), &field(theirs));
        let Reason::TypeChanged { field, ours, theirs } = reason else { panic!("{reason}") };
        assert_eq!(field, "at");
        format!("{theirs} to {ours}")
    };
    let (micros, millis) = (r#"{"type":"long","logicalType":"timestamp-micros"}"#, r#"{"type":"long","logicalType":"timestamp-millis"}"#);
    assert_eq!(changed(r#""string""#, r#""long""#), "long to string");
    // Avro would resolve these, but the number or the text would mean something else.
    assert_eq!(changed(r#""long""#, r#""int""#), "int to long");
    assert_eq!(changed(r#""bytes""#, r#""string""#), "string to bytes");
    assert_eq!(changed(millis, micros), "long (timestamp-micros) to long (timestamp-millis)");
    assert_eq!(changed(r#"["null","long"]"#, r#""long""#), "long to [null, long]");
    assert_eq!(changed(r#"["null","long","string"]"#, r#"["null","long"]"#), "[null, long] to [null, long, string]");
}

#[test]
fn a_renamed_record_is_refused() {
    let renamed = Reason::Renamed { ours: "shop.Bought".to_owned(), theirs: "shop.Sold".to_owned() };
    assert_eq!(reason(&record("Bought", UNITS), &sold(UNITS)), renamed);
    let moved = sold(UNITS).replace(r#""namespace":"shop""#, r#""namespace":"store""#);
    assert_eq!(reason(&moved, &sold(UNITS)), Reason::Renamed { ours: "store.Sold".to_owned(), theirs: "shop.Sold".to_owned() });
}

#[test]
fn a_nested_change_is_refused_with_its_path() {
    let lines = |fields: &str| sold(&format!(r#"{{"name":"lines","type":{{"type":"array","items":{}}}}}"#, record("Line", fields)));
    assert_eq!(reason(&lines(&format!("{UNITS},{NOTE}")), &lines(UNITS)), Reason::AddedWithoutDefault("lines.note".to_owned()));
    assert_eq!(reason(&lines(UNITS), &lines(&format!("{UNITS},{NOTE}"))), Reason::RemovedWithoutDefault("lines.note".to_owned()));
    let text = r#"{"name":"units","type":"string"}"#;
    let changed = Reason::TypeChanged { field: "lines.units".to_owned(), ours: "string".to_owned(), theirs: "long".to_owned() };
    assert_eq!(reason(&lines(text), &lines(UNITS)), changed);
    compat::check(SUBJECT, &lines(&format!("{UNITS},{NOTE_OR_NONE}")), &[(1, lines(UNITS))]).unwrap();
}

#[test]
fn what_does_not_parse_is_refused() {
    assert!(matches!(reason("{", &sold(UNITS)), Reason::OursUnreadable(_)));
    assert!(matches!(reason(&sold(UNITS), r#"{"type":"wish"}"#), Reason::TheirsUnreadable(_)));
}

#[test]
fn a_fingerprint_is_that_of_what_is_written() {
    let plain = compat::fingerprint(r#""int""#).unwrap();
    // Source: `printf '"int"' | sha256sum`; a primitive's canonical form is its name in quotes.
    assert_eq!(plain, "3f2b87a9fe7cc9b13835598c3981cd45e3e355309e5090aa0933d7becb6fba45");
    let documented = sold(r#"{"name":"units","type":"long","doc":"units sold"}"#);
    assert_eq!(compat::fingerprint(&documented).unwrap(), compat::fingerprint(&sold(UNITS)).unwrap());
    assert_ne!(compat::fingerprint(&sold(NOTE)).unwrap(), compat::fingerprint(&sold(UNITS)).unwrap());
    assert!(compat::fingerprint("{").is_err());
}
