//! Every record that is published is handled in some service's `src/routes.rs`, or excused here with the reason.

use std::fs;

use anyhow::Context as _;
use schemas::RECORDS;

use super::crates::Member;

/// Records none of our services handles, and who reads them instead.
const EXCUSED: &[(&str, &str)] = &[
    ("orders.OrderConfirmed", "for readers outside; inventory is told by CommitInventoryHold"),
    ("orders.OrderCancelled", "for readers outside; participants are told by the saga's compensations"),
    ("orders.SagaStarted", "orders' own history: rebuild and console"),
    ("orders.SagaStepRecorded", "orders' own history: rebuild and console"),
    ("orders.SagaEnded", "orders' own history: rebuild and console"),
    ("inventory.StockReceived", "inventory's own history: rebuild and console"),
    ("inventory.StockAdjusted", "inventory's own history: rebuild and console"),
    ("payments.PaymentAuthorized", "payments' own history; the saga waits for PaymentCaptured"),
];

/// The text of every `src/routes.rs` of a service that reads Kafka.
pub(super) fn routes(members: &[Member]) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for path in members.iter().filter(|member| member.name.ends_with("-service")).map(|member| member.folder.join("src/routes.rs")) {
        if path.is_file() {
            texts.push(fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?);
        }
    }
    Ok(texts)
}

pub(super) fn faults(routes: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for full_name in RECORDS.iter().map(|entry| entry.full_name) {
        let handled = routes.iter().any(|text| handles(text, full_name));
        match (handled, EXCUSED.iter().any(|(excused, _)| *excused == full_name)) {
            (true, false) | (false, true) => {}
            (false, false) => {
                faults.push(format!("{full_name}: no src/routes.rs handles it; handle it, or excuse it in xtask/src/check/records.rs"));
            }
            (true, true) => faults.push(format!("{full_name}: is handled and excused; remove the excuse in xtask/src/check/records.rs")),
        }
    }
    faults
}

/// Whether a table of routes has `.on::<namespace::Name>`.
fn handles(text: &str, full_name: &str) -> bool {
    let path = full_name.replace('.', "::");
    text.split(".on::<").skip(1).any(|rest| rest.split('>').next().is_some_and(|kind| kind.trim().ends_with(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_found_by_its_path() {
        let text = "Routes::new()\n.on::<inventory::StepFailed>(AfterLast::Hold, a, b)\n.on::<schemas::orders::OrderPlaced>(\nx)";
        assert!(handles(text, "inventory.StepFailed") && handles(text, "orders.OrderPlaced"));
        assert!(!handles(text, "payments.StepFailed"));
        assert!(!handles(".ignore::<orders::OrderPlaced>(\"why\")", "orders.OrderPlaced"));
    }

    #[test]
    fn every_excuse_is_for_a_record_and_says_why() {
        for (full_name, why) in EXCUSED {
            assert!(RECORDS.iter().any(|entry| entry.full_name == *full_name) && !why.is_empty(), "{full_name}");
        }
    }

    #[test]
    fn a_record_nobody_handles_is_named() {
        let faults = faults(&["Routes::new().on::<orders::SagaEnded>(x)".to_owned()]);
        assert!(faults.iter().any(|fault| fault.starts_with("orders.OrderPlaced: no src/routes.rs")), "{faults:?}");
        assert!(faults.iter().any(|fault| fault.starts_with("orders.SagaEnded: is handled and excused")), "{faults:?}");
    }
}
