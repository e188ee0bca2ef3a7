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
fn the_workspace_keeps_its_rules() {
    assert_eq!(check::faults(root()).unwrap(), Vec::<String>::new());
}
