use operation::{Decide, Decided, LetterDetail, Target};
use serde::Serialize;

use super::{SkipArgs, signed};
use crate::client::{Error, Services};
use crate::exit::Exit;
use crate::output::{Output, Table};

/// What became of one letter.
#[derive(Debug, Serialize)]
pub(super) struct Skipped {
    letter: String,
    outcome: String,
    executed: bool,
}

pub(super) async fn run(arguments: &SkipArgs, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let (who, why) = signed(&arguments.signature)?;
    let execute = arguments.signature.execute;
    let mut results = Vec::with_capacity(arguments.letters.len());
    for name in &arguments.letters {
        let (service, id) = services.letter(name)?;
        let detail: LetterDetail = service.get(&format!("/ops/letters/{id}"), &[]).await?;
        let letters = vec![Target { id, redrive_no: detail.letter.redrive_no }];
        let decided: Decided = service.post("/ops/dlq/skip", &Decide { who: who.clone(), why: why.clone(), letters, execute }).await?;
        let outcome = decided.results.into_iter().next().map_or_else(|| "gone".to_owned(), |result| result.outcome);
        results.push(Skipped { letter: name.clone(), outcome, executed: decided.executed });
    }
    output.list(&results, table)?;
    if !execute {
        output.note("this is the plan, nothing was done; --execute --who … --why … does it");
    }
    let left = results.iter().filter(|result| result.outcome != "done").count();
    Ok(match left {
        0 => Exit::Done,
        left if left == results.len() => Exit::Failed,
        _ => Exit::Partly,
    })
}

fn table(results: &[Skipped]) -> Table {
    let mut table = Table::new(&["LETTER", "OUTCOME"], "no letters");
    for result in results {
        let outcome = if result.outcome == "done" && !result.executed { "would be skipped" } else { result.outcome.as_str() };
        table.row([result.letter.clone(), outcome.to_owned()]);
    }
    table
}
