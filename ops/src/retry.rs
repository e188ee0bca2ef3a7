//! `ops retry`: messages that wait to be tried again.

use clap::{Args, Subcommand, ValueEnum};
use operation::{Effect, Effects, Letter, Letters, PAGE_MAX};
use serde::Serialize;

use crate::cli::FilterArgs;
use crate::client::{Error, Service, Services, query};
use crate::dlq::{Of, Reach};
use crate::exit::Exit;
use crate::output::{Output, Table, or_dash, until};

/// What can be asked about waiting messages.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists who waits for what until when: heads with their instant, followers behind them, calls to the outside.
    List(ListArgs),
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only messages that are due at an instant, or only those that wait behind another.
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Entries at most, of each service.
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
}

/// Where a waiting message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Tried again at an instant.
    Head,
    /// Behind another message of its key.
    Follower,
}

/// A message or a call that waits.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Waits {
    Message(Box<Letter>),
    Call(Effect),
}

/// Runs it.
///
/// # Errors
/// As [`Error`] says.
pub async fn run(command: Command, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let Command::List(arguments) = command;
    let asked = services.of(arguments.filter.group.as_deref())?;
    let mut reach = Reach::of(asked.len());
    let mut entries = Vec::new();
    let mut more = false;
    for service in asked {
        match waiting(service, &arguments).await {
            Ok((found, left)) => {
                entries.extend(found);
                more |= left;
            }
            Err(error) => reach.missed(error, output)?,
        }
    }
    output.list(&entries, table)?;
    if more {
        output.note("there are more; --limit or a filter shows others");
    }
    Ok(reach.exit())
}

async fn waiting(service: &Service, arguments: &ListArgs) -> Result<(Vec<Of<Waits>>, bool), Error> {
    let limit = arguments.limit.clamp(1, PAGE_MAX).to_string();
    let mut asked = query(&arguments.filter.filter());
    asked.push(("limit", limit.clone()));
    match arguments.state {
        Some(State::Head) => asked.push(("state", "head".to_owned())),
        Some(State::Follower) => asked.push(("state", "follower".to_owned())),
        None => {}
    }
    let letters: Letters = service.get("/ops/retry/waiting", &asked).await?;
    let (group, now) = (letters.group, letters.now);
    let mut more = letters.next.is_some();
    let of = |entry| Of { group: group.clone(), now, entry };
    let mut entries: Vec<Of<Waits>> = letters.data.into_iter().map(|letter| Waits::Message(Box::new(letter))).map(of).collect();
    // Calls are no messages: a filter of messages leaves them out.
    if arguments.filter.filter() == operation::Filter::default() && arguments.state != Some(State::Follower) {
        let calls: Effects = service.get("/ops/retry/effects", &[("limit", limit)]).await?;
        more |= calls.next.is_some();
        entries.extend(calls.data.into_iter().map(Waits::Call).map(of));
    }
    Ok((entries, more))
}

fn table(entries: &[Of<Waits>]) -> Table {
    let mut table = Table::new(&["GROUP", "WHO", "KEY", "WAITS FOR", "UNTIL", "TRIES", "CODE", "ERROR"], "nothing waits");
    for Of { group, now, entry } in entries {
        let error = |text: Option<&str>| text.unwrap_or_default().chars().take(60).collect::<String>();
        match entry {
            Waits::Message(letter) => table.row([
                group.clone(),
                letter.record.clone().unwrap_or_else(|| letter.topic.clone()),
                letter.key.to_string(),
                if letter.state == "head" { "its next try".to_owned() } else { "the messages before it".to_owned() },
                letter.due_at.map_or_else(|| "-".to_owned(), |at| until(*now, at)),
                letter.attempt.to_string(),
                or_dash(letter.code.as_deref()),
                error(letter.error.as_deref()),
            ]),
            Waits::Call(call) => table.row([
                group.clone(),
                format!("call {}", call.step),
                call.stream.clone(),
                "its next call".to_owned(),
                until(*now, call.due_at),
                call.attempt.to_string(),
                "-".to_owned(),
                String::new(),
            ]),
        }
    }
    table
}
