//! `ops saga`: sagas, and moving stuck ones on.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use operation::{Act, Acted, Decide, Decided, Letters, Saga, SagaDetail, Sagas, Story, Target};
use serde::Serialize;

use crate::cli::Signature;
use crate::client::{Error, Services};
use crate::dlq::{Reach, signed};
use crate::exit::Exit;
use crate::output::{Output, Table, ago, or_dash, plain, until};

/// What can be done about sagas.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists sagas: the stuck ones, unless told otherwise.
    List(ListArgs),
    /// Shows one saga: where it stands, what it awaits, and what every service did for it, in one timeline.
    Show {
        /// The order id.
        id: String,
    },
    /// Sends what is stuck again, with the same ids and a new deadline. Prints a plan; --execute does it.
    Resume(ActArgs),
    /// Takes over what is stuck: the saga goes on as if it had been answered, and its dead letters count as handled. Prints a plan;
    /// --execute does it.
    Abandon(ActArgs),
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which.
    #[arg(long, value_enum, default_value_t = Status::Stuck)]
    pub status: Status,
    /// Sagas at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Only those behind this id.
    #[arg(long)]
    pub after: Option<String>,
}

/// Which sagas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Status {
    /// Only a late answer or a person moves them on.
    Stuck,
    /// They await something.
    Running,
}

/// Arguments of `resume` and `abandon`.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// The order id.
    pub id: String,
    /// Who, why, and whether.
    #[command(flatten)]
    pub signature: Signature,
}

/// Runs one of them.
///
/// # Errors
/// As [`Error`] says.
pub async fn run(command: Command, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    match command {
        Command::List(arguments) => list(&arguments, services, output).await,
        Command::Show { id } => show(&id, services, output).await,
        Command::Resume(arguments) => act(&arguments, "resume", services, output).await,
        Command::Abandon(arguments) => abandon(&arguments, services, output).await,
    }
}

async fn list(arguments: &ListArgs, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let status = match arguments.status {
        Status::Stuck => "stuck",
        Status::Running => "running",
    };
    let mut asked = vec![("status", status.to_owned()), ("limit", arguments.limit.to_string())];
    asked.extend(arguments.after.iter().map(|after| ("after", after.clone())));
    let page: Sagas = services.sagas()?.get("/ops/sagas", &asked).await?;
    let now = page.now;
    output.list(&page.data, |sagas| table(now, sagas))?;
    if let Some(next) = page.next {
        output.note(&format!("there are more: --after {next}"));
    }
    Ok(Exit::Done)
}

fn table(now: Timestamp, sagas: &[Saga]) -> Table {
    let mut table = Table::new(&["SAGA", "STATUS", "STEP", "STUCK BECAUSE", "SINCE", "TURNED BACK BECAUSE", "OVERDUE"], "no such sagas");
    for saga in sagas {
        table.row([
            saga.id.clone(),
            saga.status.clone(),
            saga.step.clone(),
            or_dash(saga.stuck_reason.as_deref()),
            saga.stuck_at.map_or_else(|| "-".to_owned(), |at| ago(now, at)),
            or_dash(saga.cause.as_deref()),
            saga.deadline_at.map_or_else(|| "-".to_owned(), |at| until(now, at)),
        ]);
    }
    table
}

/// One saga with what every service knows of it.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    saga: SagaDetail,
    stories: Vec<Story>,
}

async fn show(id: &str, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let saga: SagaDetail = services.sagas()?.get(&format!("/ops/sagas/{id}"), &[]).await?;
    let asked = services.of(None)?;
    let mut reach = Reach::of(asked.len());
    let mut stories = Vec::with_capacity(asked.len());
    for service in asked {
        match service.get::<Story>(&format!("/ops/stories/{id}"), &[]).await {
            Ok(story) => stories.push(story),
            Err(error) => reach.missed(error, output)?,
        }
    }
    output.one(&Whole { saga, stories }, text)?;
    Ok(reach.exit())
}

fn text(whole: &Whole) -> String {
    let detail = &whole.saga;
    let saga = &detail.saga;
    let mut text = String::new();
    let steps = detail.steps.iter().map(|step| format!("{} {}", step.step, or_dash(step.state.as_deref()))).collect::<Vec<_>>().join(", ");
    let rows = [
        ("saga", format!("{} ({} version {})", saga.id, detail.definition, detail.shape_version)),
        ("status", saga.status.clone()),
        ("decided", or_dash(detail.decision.as_deref())),
        ("turned back", or_dash(saga.cause.as_deref())),
        ("stuck", saga.stuck_at.map_or_else(|| "-".to_owned(), |at| format!("since {at}: {}", or_dash(saga.stuck_reason.as_deref())))),
        ("steps", steps),
    ];
    for (name, value) in rows {
        line(&mut text, &format!("{name:<12} {}", plain(&value)));
    }
    for awaited in &detail.awaited {
        let due = awaited.deadline_at.map_or_else(|| "overdue".to_owned(), |at| format!("until {at}"));
        line(&mut text, &format!("awaits       {} of step {}, {due}, message {}", awaited.command, awaited.step, awaited.message_id));
    }
    timeline(&mut text, &whole.stories);
    text
}

/// What every service recorded, by time; then what waits and what is dead.
fn timeline(text: &mut String, stories: &[Story]) {
    let mut events: Vec<(Timestamp, &str, i64, String)> = Vec::new();
    for story in stories {
        for event in &story.events {
            let said = |name: &str| event.body.get(name).and_then(serde_json::Value::as_str).map(|value| format!(" {value}"));
            let details: String = ["step", "state", "reason", "outcome", "code", "decided_by"].into_iter().filter_map(said).collect();
            events.push((event.at, &story.service, event.version, format!("{}{details}", event.record)));
        }
    }
    events.sort();
    line(text, "timeline");
    for (at, service, _, what) in events {
        line(text, &format!("  {at}  {service:<9}  {}", plain(&what)));
    }
    for story in stories {
        for call in story.effects.iter().filter(|call| !matches!(call.state.as_str(), "done" | "dropped")) {
            line(
                text,
                &format!("call         {} {}: {}, {} failed, due {}", story.service, call.step, call.state, call.attempt, call.due_at),
            );
        }
        for letter in &story.letters {
            let what = letter.record.as_deref().unwrap_or(&letter.topic);
            let error = or_dash(letter.code.as_deref());
            line(text, &format!("letter       {}/{} {what}: {}, {error}", story.service, letter.id, letter.state));
        }
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

async fn act(arguments: &ActArgs, what: &str, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let (who, why) = signed(&arguments.signature)?;
    let act = Act { who, why, execute: arguments.signature.execute };
    let acted: Acted = services.sagas()?.post(&format!("/ops/sagas/{}/{what}", arguments.id), &act).await?;
    output.one(&acted, told)?;
    if !acted.executed {
        output.note("this is the plan, nothing was done; --execute --who … --why … does it");
    }
    Ok(Exit::Done)
}

fn told(acted: &Acted) -> String {
    let mut text = String::new();
    let is = if acted.executed { "is" } else { "would be" };
    line(&mut text, &format!("saga {} {is} {}", acted.id, acted.status));
    for record in &acted.records {
        line(&mut text, &format!("  records {record}"));
    }
    for command in &acted.sends {
        line(&mut text, &format!("  sends {command}"));
    }
    text
}

async fn abandon(arguments: &ActArgs, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let exit = act(arguments, "abandon", services, output).await?;
    if !arguments.signature.execute {
        return Ok(exit);
    }
    let (who, why) = signed(&arguments.signature)?;
    let asked = services.of(None)?;
    let mut reach = Reach::of(asked.len());
    for service in asked {
        let query = [("correlation", arguments.id.clone()), ("limit", "100".to_owned())];
        let dead: Letters = match service.get("/ops/dlq/letters", &query).await {
            Ok(dead) => dead,
            Err(error) => {
                reach.missed(error, output)?;
                continue;
            }
        };
        let letters: Vec<Target> = dead.data.iter().map(|letter| Target { id: letter.id, redrive_no: letter.redrive_no }).collect();
        if letters.is_empty() {
            continue;
        }
        let count = letters.len();
        let decided: Decided =
            service.post("/ops/dlq/abandon", &Decide { who: who.clone(), why: why.clone(), letters, execute: true }).await?;
        let done = decided.results.iter().filter(|result| result.outcome == "done").count();
        output.note(&format!("{done} of {count} dead letters of {} count as handled", service.name));
    }
    Ok(reach.exit())
}
