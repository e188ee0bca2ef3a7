//! I10: cause before effect, and exactly one effect of every command.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::finding::{Finding, Invariant, Violation};
use super::message::Body;
use super::story::{Story, stories, stuck};
use super::world::{Record, World};

/// Cause before effect: every `causation-id` is a message on a topic, written earlier where one source wrote both, or else
/// a client's request, a deadline or a person's decision, whose marks its records bear; no chain of causes is a circle. Every
/// command is sent once, and again with the same id only when a person resumed its saga, and has exactly one effect that names it as the cause, or its participant's stream shows that it was undone
/// first, and nothing happens after the undo.
#[must_use]
pub fn i10(world: &World) -> Finding {
    let mut finding = Finding::new(Invariant::I10);
    let messages: HashMap<Uuid, &Record> = world.committed().filter_map(|record| Some((record.headers.id?, record))).collect();
    let mut outside: BTreeMap<Uuid, Vec<&Record>> = BTreeMap::new();
    for record in world.committed() {
        let Some(cause) = record.headers.cause else { continue };
        match messages.get(&cause) {
            None => outside.entry(cause).or_default().push(record),
            Some(cause) => {
                let same_source = cause.headers.src == record.headers.src;
                finding.check(
                    !same_source || cause.headers.seq < record.headers.seq,
                    || [record.id(), cause.id()],
                    || format!("{} was written before its cause {}", record.place(), cause.place()),
                );
                finding.check(
                    cause.body.order() == record.body.order(),
                    || [record.id(), cause.id()],
                    || format!("{} was caused by another order's {}", record.place(), cause.place()),
                );
            }
        }
    }
    for (cause, records) in &outside {
        from_outside(&mut finding, *cause, records);
    }
    circles(&mut finding, world, &messages);
    let stuck = stuck(world);
    for (order, story) in &stories(world) {
        commands(&mut finding, *order, story, stuck.contains(order) || abandoned(story));
        undo_wins(&mut finding, *order, story);
    }
    finding
}

/// Records whose cause is no message: they must be of one request of a client, of a deadline, or of what a person decided about a stuck saga.
fn from_outside(finding: &mut Finding, cause: Uuid, records: &[&Record]) {
    let placement = records.iter().any(|record| matches!(record.body, Body::OrderPlaced(_)));
    let undo = records.iter().any(|record| {
        matches!(&record.body, Body::SagaStepRecorded { reason: Some(reason), .. } | Body::OrderCancelled { reason, .. }
            if matches!(reason.as_ref(), "cancelled_by_customer" | "deadline"))
            || matches!(&record.body, Body::SagaStepRecorded { decided_by: Some(_), .. })
    });
    for record in records {
        let one_story = records.iter().all(|other| other.body.order() == record.body.order());
        let explained = match record.body.sku() {
            Some(_) => true,
            None if placement => one_story && record.body.may_be_first(),
            None => one_story && undo,
        };
        finding.check(
            explained,
            || [record.id(), cause.to_string()],
            || format!("cause of {} is on no topic, and no request or deadline explains it", record.place()),
        );
    }
}

/// No record is, over its causes, the cause of itself.
fn circles(finding: &mut Finding, world: &World, messages: &HashMap<Uuid, &Record>) {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Mark {
        OnPath,
        Rooted,
    }
    let mut marks: HashMap<Uuid, Mark> = HashMap::with_capacity(messages.len());
    for record in world.committed() {
        let mut path = Vec::new();
        let mut next = record.headers.id;
        let mut met = None;
        while let Some(id) = next {
            match marks.get(&id) {
                Some(Mark::Rooted) => break,
                Some(Mark::OnPath) => {
                    met = Some(id);
                    break;
                }
                None => {}
            }
            marks.insert(id, Mark::OnPath);
            path.push(id);
            next = messages.get(&id).and_then(|record| record.headers.cause).filter(|cause| messages.contains_key(cause));
        }
        finding.checked += 1;
        if met.is_some() {
            let ids = path.iter().skip_while(|id| Some(**id) != met).map(Uuid::to_string).collect();
            finding.violations.push(Violation { ids, text: format!("causes of {} go in a circle", record.place()) });
        }
        for id in path {
            marks.insert(id, Mark::Rooted);
        }
    }
}

/// What a command asks for: whether an event is its effect, and whether the participant's own stream shows why it needed
/// none.
struct Asks {
    effect: fn(&Body) -> bool,
    undone: fn(&Story<'_>) -> bool,
}

/// What `command` asks for; `None` when it is no command.
fn asks(command: &Body) -> Option<Asks> {
    let closed: fn(&Story<'_>) -> bool = |story| story.voided + story.declined + story.refunded.len() > 0;
    let asks = if matches!(command, Body::CreateInventoryHold { .. }) {
        Asks {
            effect: |event| {
                matches!(event, Body::InventoryReserved { .. } | Body::InventoryRejected { .. } | Body::InventoryStepFailed { .. })
            },
            undone: |story| !story.released.is_empty(),
        }
    } else if matches!(command, Body::CommitInventoryHold { .. }) {
        Asks { effect: |event| matches!(event, Body::InventoryHoldCommitted { .. } | Body::InventoryStepFailed { .. }), undone: |_| false }
    } else if matches!(command, Body::ReleaseInventoryHold { .. }) {
        Asks {
            effect: |event| matches!(event, Body::InventoryHoldReleased { .. } | Body::InventoryStepFailed { .. }),
            undone: |story| !story.released.is_empty() || story.rejected > 0,
        }
    } else if matches!(command, Body::CapturePayment { .. }) {
        Asks {
            effect: |event| matches!(event, Body::PaymentCaptured { .. } | Body::PaymentDeclined { .. } | Body::PaymentStepFailed { .. }),
            undone: closed,
        }
    } else if matches!(command, Body::VoidPayment { .. }) {
        Asks {
            effect: |event| matches!(event, Body::PaymentVoided { .. } | Body::PaymentRefunded { .. } | Body::PaymentDeclined { .. }),
            undone: closed,
        }
    } else if matches!(command, Body::RefundPayment { .. }) {
        Asks { effect: |event| matches!(event, Body::PaymentRefunded { .. }), undone: closed }
    } else {
        return None;
    };
    Some(asks)
}

/// A person took over what its participant left open.
fn abandoned(story: &Story<'_>) -> bool {
    story.records.iter().any(|record| matches!(&record.body, Body::SagaStepRecorded { state, .. } if state.as_ref() == "abandoned"))
}

fn commands(finding: &mut Finding, order: Uuid, story: &Story<'_>, stuck: bool) {
    let resumed = story.records.iter().any(|record| matches!(&record.body, Body::SagaStepRecorded { decided_by: Some(_), .. }));
    let mut sent: HashMap<&str, &Record> = HashMap::new();
    for command in story.records.iter().filter(|record| record.topic.carries_commands()) {
        let Some(id) = command.headers.id else { continue };
        let ids = || [id.to_string(), order.to_string()];
        let name = command.body.kind().map_or("command", |(name, _)| name);
        let first = *sent.entry(name).or_insert(command);
        if resumed && first.headers.id == Some(id) && !std::ptr::eq(first, *command) {
            continue;
        }
        finding.check(std::ptr::eq(first, *command), ids, || format!("{name} was sent twice, also as {}", first.id()));
        let Some(asks) = asks(&command.body) else { continue };
        let effects = story.records.iter().filter(|event| event.headers.cause == Some(id) && (asks.effect)(&event.body)).count();
        finding.check(effects <= 1, ids, || format!("{name} had {effects} effects"));
        if effects == 0 && !stuck {
            finding.check((asks.undone)(story), ids, || format!("{name} had no effect and was not undone"));
        }
    }
}

/// Nothing is reserved after a release, nothing authorised or captured after a void, decline or refund.
fn undo_wins(finding: &mut Finding, order: Uuid, story: &Story<'_>) {
    let (mut released, mut closed) = (false, false);
    for record in &story.records {
        let body = &record.body;
        if matches!(body, Body::InventoryHoldReleased { .. }) {
            released = true;
        } else if matches!(body, Body::InventoryReserved { .. } | Body::InventoryHoldCommitted { .. }) {
            finding.check(!released, || [record.id(), order.to_string()], || format!("hold changed after its release: {}", record.place()));
        } else if matches!(body, Body::PaymentVoided { .. } | Body::PaymentDeclined { .. } | Body::PaymentRefunded { .. }) {
            closed = true;
        } else if matches!(body, Body::PaymentAuthorized { .. } | Body::PaymentCaptured { .. }) {
            finding.check(
                !closed,
                || [record.id(), order.to_string()],
                || format!("payment went on after it was undone: {}", record.place()),
            );
        }
    }
}
