//! The tree against its own rules, so that `cargo test --workspace` is enough to know.

use std::path::Path;

use xtask::{Report, check, schemas};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn the_generated_types_are_what_the_schemas_give() {
    schemas::check(root(), &mut Report::new(std::io::sink())).unwrap();
}

#[test]
fn crates_keep_their_tiers() {
    assert_eq!(check::faults(root()).unwrap().crates, Vec::<String>::new());
}

#[test]
fn every_record_is_handled_or_excused() {
    assert_eq!(check::faults(root()).unwrap().records, Vec::<String>::new());
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    assert_eq!(check::faults(root()).unwrap().codes, Vec::<String>::new());
}
