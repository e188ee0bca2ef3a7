//! F20: a database is restored from a backup while its topics know more. The service refuses to start and names the way out, and
//! after it everything is there.

use stack::{Part, Service};

use super::rebuilds::{content, rebuild, refuses};
use super::{Outcome, SOON, Session, Stage, until};

/// Orders a second.
const RATE: u32 = 20;

pub(super) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let orders = session.orders(40, 2_000);
    let sabotaged = session.options().sabotage.is_some();
    let services = session.size(&[Service::Orders][..], &[Service::Orders, Service::Inventory, Service::Payments][..]);
    let stage = session.stage().await?;
    let mut outcome = Outcome::default();
    for service in services.iter().copied() {
        stage.load(orders, RATE).finish().await?;
        stage.rest().await?;
        stage.stack.terminate(service).await?;
        stage.stack.save_database(service).await?;
        stage.stack.restart(service).await?;
        stage.load(orders, RATE).finish().await?;
        outcome.judged(&stage.verdict().await?);
        let before = content(stage, service).await?;
        stage.stack.kill(service).await?;
        stage.stack.restore_database(service).await?;
        stage.stack.launch(service).await?;
        outcome.reach("restored databases", 1);
        if sabotaged {
            // it serves from the past as if nothing had been
            stage.stack.ready(service).await?;
            stage.load(orders, RATE).finish().await?;
            outcome.judged(&stage.verdict().await?);
            return Ok(outcome);
        }
        ends(stage, service, &mut outcome).await?;
        stage.stack.set_up(service, true).await?;
        stage.stack.launch(service).await?;
        refuses(stage, service).await?;
        let took = rebuild(stage, service, &mut outcome).await?;
        outcome.recoveries.push(took);
        let after = content(stage, service).await?;
        for (table, before) in &before {
            let after = after.get(table);
            outcome.must(after == Some(before), || format!("{}.{table} was {before:?} and is {after:?}", service.name()));
        }
        stage.load(orders, RATE).finish().await?;
        outcome.judged(&stage.verdict().await?);
    }
    Ok(outcome)
}

/// The process ends, and its last words are the cause and the command that mends it.
async fn ends(stage: &Stage, service: Service, outcome: &mut Outcome) -> anyhow::Result<()> {
    let part = Part::from(service);
    until("the service refuses to start", SOON, || async {
        let runs = stage.stack.running().iter().any(|(of, runs)| *of == part && *runs);
        Ok(if runs { Err("it runs".to_owned()) } else { Ok(()) })
    })
    .await?;
    let log = stage.stack.logs(part);
    let last: Vec<&str> = log.lines().rev().take(60).collect();
    for word in ["restored to the past", "setup --rebuild", "ops rebuild"] {
        outcome.must(last.iter().any(|line| line.contains(word)), || {
            format!("{} did not say {word:?} when it refused to start", service.name())
        });
    }
    Ok(())
}
