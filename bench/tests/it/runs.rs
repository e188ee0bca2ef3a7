//! Whole runs.

use std::time::Duration;

use bench::{grocery, orders};
use clap::Parser;

use crate::fake::{Behaviour, Fake, Mood};

#[derive(Parser)]
struct Grocery {
    #[command(flatten)]
    options: grocery::Options,
}

#[derive(Parser)]
struct Orders {
    #[command(flatten)]
    options: orders::Options,
}

async fn grocery(fake: &Fake, arguments: &[&str]) -> grocery::Report {
    let address = ["bench", "--slice", "--watch", "http", "--gateway-url", &fake.url];
    let options = Grocery::parse_from(address.into_iter().chain(arguments.iter().copied())).options;
    grocery::run(&options).await.unwrap()
}

async fn orders(fake: &Fake, arguments: &[&str]) -> orders::Report {
    let address = ["bench", "--watch", "http", "--warm", "0", "--skus", "20", "--gateway-url", &fake.url];
    let options = Orders::parse_from(address.into_iter().chain(arguments.iter().copied())).options;
    orders::run(&options).await.unwrap()
}

fn taking(millis: u64) -> Behaviour {
    Behaviour { takes: Duration::from_millis(millis), ..Behaviour::default() }
}

#[tokio::test]
async fn the_slice_is_placed_and_exactly_its_dirty_baskets_are_refused() {
    let fake = Fake::start(taking(5)).await;
    let report = grocery(&fake, &["--in-flight", "8"]).await;
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!((report.baskets, report.accepted, report.confirmed), (200, 189, 189));
    assert_eq!((report.refused_count, report.refused_expected), (11, 11));
    assert_eq!(report.placed_to_ended.unwrap().count, 189);
    assert_eq!(report.observed.unwrap().count, 189);
    let text = report.to_string();
    assert!(text.contains("confirmed      189") && text.contains("in all, 11 must be") && text.ends_with("PASSED\n"), "{text}");
    assert_eq!(serde_json::to_value(&report).unwrap()["confirmed"], 189);
    let state = fake.state.lock().unwrap();
    assert!((2..=8).contains(&state.in_flight_max), "{} in flight", state.in_flight_max);
    assert_eq!(state.skus.len(), 1_555);
}

#[tokio::test]
async fn no_basket_is_sent_before_its_products_can_be_ordered() {
    let fake = Fake::start(Behaviour { slow_prices: true, ..taking(0) }).await;
    let report = grocery(&fake, &["--limit", "10"]).await;
    assert_eq!(report.faults, Vec::<String>::new());
}

#[tokio::test]
async fn a_basket_accepted_against_the_rule_fails_the_run() {
    let report_of = |known| async move {
        let fake = Fake::start(Behaviour { known, ..taking(0) }).await;
        grocery(&fake, &[]).await
    };
    let unknown: Vec<_> = {
        let slice = bench::data::Grocery::slice().unwrap();
        slice
            .baskets
            .iter()
            .flat_map(|basket| &basket.lines)
            .map(|line| line.sku.clone())
            .filter(|sku| !slice.products.contains_key(sku))
            .collect()
    };
    let report = report_of(unknown.into_iter().collect()).await;
    assert!(report.refused_count < 11);
    assert!(report.faults.iter().any(|fault| fault.contains("11 must be")), "{:?}", report.faults);
    assert!(report.faults.iter().any(|fault| fault.starts_with("accepted but must be refused")), "{:?}", report.faults);
}

#[tokio::test]
async fn a_run_survives_lost_answers_without_a_double_order() {
    let fake = Fake::start(Behaviour { moods: vec![Mood::LoseAnswer], ..taking(1) }).await;
    let report = grocery(&fake, &["--limit", "40", "--in-flight", "40"]).await;
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(report.accepted, fake.orders());
    assert!(!report.retries.is_empty());
}

#[tokio::test]
async fn a_run_that_is_repeated_places_nothing_twice() {
    let fake = Fake::start(taking(1)).await;
    for _ in 0..2 {
        let report = grocery(&fake, &["--limit", "20", "--run", "again"]).await;
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(report.accepted, fake.orders());
    }
}

#[tokio::test]
async fn a_system_that_decides_nothing_is_given_up() {
    let fake = Fake::start(Behaviour { stalled: true, ..Behaviour::default() }).await;
    let report = grocery(&fake, &["--limit", "9", "--in-flight", "4", "--patience", "1"]).await;
    assert!(report.faults.iter().any(|fault| fault.contains("4 orders are open")), "{:?}", report.faults);
    assert_eq!(fake.orders(), 4, "no more than four are ever in flight");
}

#[tokio::test]
async fn a_closed_loop_keeps_its_number_in_flight() {
    let fake = Fake::start(taking(20)).await;
    let report = orders(&fake, &["--in-flight", "1,5", "--orders", "30"]).await;
    assert_eq!(report.faults, Vec::<String>::new());
    let confirmed: Vec<_> = report.cells.iter().map(|cell| (cell.shape, cell.confirmed, cell.accepted)).collect();
    assert_eq!(confirmed, [(orders::Shape::Closed(1), 30, 30), (orders::Shape::Closed(5), 30, 30)]);
    let state = fake.state.lock().unwrap();
    assert!((4..=5).contains(&state.in_flight_max), "{} in flight", state.in_flight_max);
    assert!(report.cells[0].observed.unwrap().p50_ms >= 20.0);
    assert_eq!(serde_json::to_value(&report).unwrap()["cells"][1]["of"], 5);
    let text = report.to_string();
    assert!(text.contains("one at a time: ") && text.contains("5 in flight: ") && text.ends_with("PASSED\n"), "{text}");
}

#[tokio::test]
async fn an_open_loop_keeps_its_rate_whatever_is_in_flight() {
    let fake = Fake::start(taking(300)).await;
    let report = orders(&fake, &["--rate", "100", "--seconds", "1", "--settle", "0"]).await;
    assert_eq!(report.faults, Vec::<String>::new());
    let cell = &report.cells[0];
    assert!((50..=101).contains(&cell.accepted), "{} sent in a second at 100/s", cell.accepted);
    assert!(fake.state.lock().unwrap().in_flight_max > 15);
    assert_eq!(cell.observed.unwrap().count, cell.accepted, "orders decided after the window count too");
}
