//! F2: every step of relay and consumer at which a process can die, fail or be slow, reached and survived.

use std::collections::VecDeque;

use anyhow::Context as _;
use stack::{Part, Service};

use super::{Dice, Outcome, SOON, Session, Stage, until};

/// Orders a second.
const RATE: u32 = 25;
const SERVICES: [Service; 3] = [Service::Orders, Service::Inventory, Service::Payments];

/// What must happen where; `before` makes the way to it.
#[derive(Debug, Clone, Copy)]
struct Case {
    point: &'static str,
    action: &'static str,
    before: &'static str,
}

/// Steps that come once at each start.
const AT_START: [&str; 5] = ["L0.locked", "L1.fenced", "L2.sentinel", "L2.positioned", "C0.taken"];
/// Steps that can fail as well, and what an error means there.
const FAILING: [&str; 4] = ["L5.acknowledged", "L5.committed", "C2.decided", "C4.lost"];
/// Long enough that the process beside it goes on; shorter than any limit.
const DELAY: &str = "delay:300";
const DELAYED: [&str; 4] = ["L3.read", "L4.sent", "C2.claimed", "C2.written"];

/// The steps of relay and consumer; those of retries need messages that fail.
fn points() -> impl Iterator<Item = &'static str> {
    kafka::harm::POINTS.iter().copied().filter(|point| point.starts_with(['L', 'C']))
}

fn cases() -> Vec<Case> {
    let before = |point: &str| match point {
        "C3.refused" => "C2.decided=1*return(error);",
        "C4.settled" => "C4.lost=1*return(error);",
        _ => "",
    };
    let deaths = points().map(|point| Case { point, action: "abort", before: before(point) });
    let errors = FAILING.iter().map(|point| Case { point, action: "error", before: "" });
    let delays = DELAYED.iter().map(|point| Case { point, action: DELAY, before: "" });
    deaths.chain(errors).chain(delays).collect()
}

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let (rounds, orders) = (session.size(1, 20), session.orders(300, 5_000));
    let mut dice = session.dice();
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    let load = stage.load(orders, RATE);
    let mut counts = vec![0_u64; cases().len()];
    for round in 0..rounds {
        // each service takes a third of the cases, another one in each round
        let mut lanes: Vec<VecDeque<(usize, Case)>> = vec![VecDeque::new(); SERVICES.len()];
        let start = usize::try_from(dice.roll(3))? + round;
        for (number, case) in cases().into_iter().enumerate() {
            if let Some(lane) = lanes.get_mut((number + start) % SERVICES.len()) {
                lane.push_back((number, case));
            }
        }
        let stage = &*stage;
        let seeds = Dice::new(dice.roll(u64::MAX));
        let lanes = lanes.into_iter().zip(SERVICES).map(|(lane, service)| lane_of(stage, service, lane, seeds.clone()));
        let done = match futures_util::future::try_join_all(lanes).await {
            Ok(done) => done,
            // without load no step is reached: say which it was
            Err(error) => return Err(error.context(format!("load: {:?}", load.finish().await.map(|heard| heard.accepted)))),
        };
        for done in done {
            for number in done {
                if let Some(count) = counts.get_mut(number) {
                    *count += 1;
                }
            }
        }
    }
    load.finish().await?;
    for (case, count) in cases().iter().zip(&counts) {
        outcome.must(*count == u64::try_from(rounds).unwrap_or(0), || format!("{} {} was reached {count} times", case.point, case.action));
    }
    outcome.reach("steps harmed", counts.iter().sum());
    outcome.figures.push(format!("{} cases", counts.len()));
    outcome.judged(&stage.verdict().await?);
    Ok(outcome)
}

/// All cases of one service, one after the other; the numbers of those that were reached.
async fn lane_of(stage: &Stage, service: Service, lane: VecDeque<(usize, Case)>, mut dice: Dice) -> anyhow::Result<Vec<usize>> {
    let mut done = Vec::with_capacity(lane.len());
    for (number, case) in lane {
        let skipped = if AT_START.contains(&case.point) || !case.before.is_empty() { 0 } else { dice.roll(4) };
        let skip = if skipped == 0 { String::new() } else { format!("{skipped}*off->") };
        let before = stage.reached(service, case.point, case.action);
        stage.arm(service, &format!("{}{}={skip}1*return({})", case.before, case.point, case.action));
        stage.stack.kill(service).await?;
        // one that dies at start does not become ready: that is the case, not an error
        let started = stage.stack.restart(service).await;
        until(&format!("{} of {} is reached", case.point, service.name()), SOON, || async {
            let reached = stage.reached(service, case.point, case.action) > before;
            if !reached && started.is_err() {
                anyhow::bail!("{} did not start: {started:?}", service.name());
            }
            Ok(if reached { Ok(()) } else { Err(format!("{}={}", case.point, case.action)) })
        })
        .await
        .with_context(|| stage.complaints())?;
        stage.arm(service, "");
        if case.action == "abort" {
            until("the process is dead", SOON, || async {
                let runs = stage.stack.running().iter().any(|(part, runs)| *part == Part::from(service) && *runs);
                Ok(if runs { Err("it runs".to_owned()) } else { Ok(()) })
            })
            .await?;
            stage.stack.restart(service).await?;
        }
        done.push(number);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_death_and_every_name_is_a_point() {
        let cases = cases();
        for point in points() {
            assert!(cases.iter().any(|case| case.point == point && case.action == "abort"), "{point}");
        }
        assert!(AT_START.iter().chain(&FAILING).chain(&DELAYED).all(|point| kafka::harm::POINTS.contains(point)));
    }
}
