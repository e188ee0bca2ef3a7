//! docs/decisions/0008-models.md tells what the search finds today.

use models::page::{path, renewed};

#[test]
fn the_counterexamples_on_the_page_are_the_ones_found() {
    let page = std::fs::read_to_string(path()).unwrap();
    assert!(renewed(&page).unwrap() == page, "run `cargo run -p models` and read what changed");
}
