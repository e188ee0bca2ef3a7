//! F6: every link in turn is cut, reset, half open, slow and narrow. No partition is stopped by mistake.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stack::Service;

use super::{Outcome, Session, Stage};
use crate::proxy::Mode;

/// Orders a second: a narrow link must not be the only thing that is slow.
const RATE: u32 = 15;
/// The system is back within this time after its link is.
const BACK: Duration = Duration::from_secs(15);
const MODES: [(&str, Mode); 5] = [
    ("cut", Mode::Cut),
    ("reset", Mode::Reset),
    ("half open", Mode::HalfOpen),
    ("slow", Mode::Slow { by: Duration::from_millis(200), jitter: Duration::from_millis(600) }),
    // 56 kbit/s
    ("narrow", Mode::Bandwidth { bytes_per_second: 7_000 }),
];

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    // in CI each link is harmed in one way for a moment, another one by each seed; at full size in every way for 10 s
    let (each, time) = session.size((1, Duration::from_secs(2)), (MODES.len(), Duration::from_secs(10)));
    let first = usize::try_from(session.dice().roll(5))?;
    let orders = session.orders(100, 1_000);
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    let load = stage.load(orders, RATE);
    load.reaches(orders / 4).await?;
    let before = stage.open_orders().await?;
    let mut harmed = vec![0_u64; MODES.len()];
    for (number, link) in stage.links.all().into_iter().enumerate() {
        for step in 0..each {
            let index = (first + number + step) % MODES.len();
            let (Some((name, mode)), Some(count)) = (MODES.get(index), harmed.get_mut(index)) else { continue };
            let touched = link.seen().ended.load(Ordering::Relaxed) + link.seen().harmed.load(Ordering::Relaxed);
            link.set(*mode);
            tokio::time::sleep(time).await;
            link.set(Mode::Pass);
            let back = Instant::now();
            let now = link.seen().ended.load(Ordering::Relaxed) + link.seen().harmed.load(Ordering::Relaxed);
            // the registry is only asked for schemas that are not known yet: nothing may be on its link
            if now > touched || link.name() == "registry" {
                *count += 1;
            } else {
                outcome.broken.push(format!("nothing was on the link {} while it was {name}", link.name()));
            }
            let recovered = stage.recovered(before).await;
            outcome.must(recovered.is_ok() && back.elapsed() <= BACK, || {
                format!("after {} was {name} the system was back after {:?}: {recovered:?}", link.name(), back.elapsed())
            });
            outcome.recoveries.push(back.elapsed());
            held(stage, &mut outcome, &format!("{} was {name}", link.name())).await?;
        }
    }
    for ((name, _), count) in MODES.iter().zip(harmed) {
        outcome.reach(format!("links {name}"), count);
    }
    load.finish().await?;
    outcome.judged(&stage.verdict().await?);
    Ok(outcome)
}

/// No service holds a partition.
async fn held(stage: &Stage, outcome: &mut Outcome, when: &str) -> anyhow::Result<()> {
    for service in [Service::Orders, Service::Inventory, Service::Payments] {
        let held = stage.held(service, 1).await?;
        outcome.must(held.is_empty(), || format!("after {when}, {} holds {held}", service.name()));
    }
    Ok(())
}
