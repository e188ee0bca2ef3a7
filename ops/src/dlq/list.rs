use jiff::Timestamp;
use operation::{Group, Groups, Letter, Letters, PAGE_MAX};
use serde::Serialize;

use super::ListArgs;
use crate::client::{Error, Service, Services, query};
use crate::exit::Exit;
use crate::output::{Output, Table, ago, or_dash};

/// An entry with the group it is of.
#[derive(Debug, Serialize)]
pub(crate) struct Of<T> {
    pub(crate) group: String,
    #[serde(skip)]
    pub(crate) now: Timestamp,
    #[serde(flatten)]
    pub(crate) entry: T,
}

pub(super) async fn run(arguments: &ListArgs, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let asked = services.of(arguments.filter.group.as_deref())?;
    if arguments.letters { letters(arguments, &asked, output).await } else { groups(arguments, &asked, output).await }
}

async fn groups(arguments: &ListArgs, services: &[&Service], output: &mut Output) -> Result<Exit, Error> {
    let asked = query(&arguments.filter.filter());
    let mut entries: Vec<Of<Group>> = Vec::new();
    let mut reach = Reach::of(services.len());
    for service in services {
        match service.get::<Groups>("/ops/dlq/groups", &asked).await {
            Ok(groups) => {
                entries.extend(groups.data.into_iter().map(|entry| Of { group: groups.group.clone(), now: groups.now, entry }));
            }
            Err(error) => reach.missed(error, output)?,
        }
    }
    output.list(&entries, groups_table)?;
    Ok(reach.exit())
}

pub(super) fn groups_table(entries: &[Of<Group>]) -> Table {
    let mut table = Table::new(
        &["GROUP", "CLASS", "CODE", "RECORD", "TOPIC", "LETTERS", "KEYS", "WAITING", "OLDEST", "NEWEST", "FINGERPRINT"],
        "no dead letters",
    );
    for Of { group, now, entry } in entries {
        table.row([
            group.clone(),
            entry.class.clone(),
            entry.code.clone(),
            or_dash(entry.record.as_deref()),
            entry.topic.clone(),
            entry.letters.to_string(),
            entry.keys.to_string(),
            entry.waiting.to_string(),
            ago(*now, entry.oldest_at),
            ago(*now, entry.newest_at),
            entry.fingerprint.clone(),
        ]);
    }
    table
}

async fn letters(arguments: &ListArgs, services: &[&Service], output: &mut Output) -> Result<Exit, Error> {
    let mut entries: Vec<Of<Letter>> = Vec::new();
    let mut reach = Reach::of(services.len());
    let mut more = false;
    for service in services {
        let mut after = 0;
        while entries.len() < arguments.limit {
            let limit = arguments.limit.saturating_sub(entries.len()).min(usize::try_from(PAGE_MAX).unwrap_or(usize::MAX));
            let mut asked = query(&arguments.filter.filter());
            asked.extend([("after", after.to_string()), ("limit", limit.to_string())]);
            match service.get::<Letters>("/ops/dlq/letters", &asked).await {
                Ok(page) => {
                    entries.extend(page.data.into_iter().map(|entry| Of { group: page.group.clone(), now: page.now, entry }));
                    match page.next {
                        Some(next) => after = next,
                        None => break,
                    }
                    more = entries.len() >= arguments.limit;
                }
                Err(error) => {
                    reach.missed(error, output)?;
                    break;
                }
            }
        }
    }
    output.list(&entries, letters_table)?;
    if more {
        output.note(&format!("the first {}; --limit shows more", entries.len()));
    }
    Ok(reach.exit())
}

fn letters_table(entries: &[Of<Letter>]) -> Table {
    let mut table =
        Table::new(&["LETTER", "KEY", "RECORD", "CLASS", "CODE", "TRIES", "REDRIVES", "POLICY", "FAILED", "ERROR"], "no dead letters");
    for Of { group, now, entry } in entries {
        table.row([
            format!("{group}/{}", entry.id),
            entry.key.to_string(),
            or_dash(entry.record.as_deref()),
            or_dash(entry.class.as_deref()),
            or_dash(entry.code.as_deref()),
            entry.attempt.to_string(),
            entry.redrive_no.to_string(),
            entry.policy.clone(),
            entry.last_failure_at.map_or_else(|| "-".to_owned(), |at| ago(*now, at)),
            entry.error.as_deref().unwrap_or_default().chars().take(80).collect(),
        ]);
    }
    table
}

/// Which of several services answered: a list of the others is still worth printing.
#[derive(Debug)]
pub(crate) struct Reach {
    asked: usize,
    missed: usize,
}

impl Reach {
    pub(crate) fn of(asked: usize) -> Self {
        Self { asked, missed: 0 }
    }

    /// Notes a service that did not answer; any other error ends the command.
    pub(crate) fn missed(&mut self, error: Error, output: &mut Output) -> Result<(), Error> {
        if error.exit() != Exit::Unreachable || self.asked == 1 {
            return Err(error);
        }
        self.missed += 1;
        output.note(&format!("ops: {error}"));
        Ok(())
    }

    pub(crate) fn exit(&self) -> Exit {
        match self.missed {
            0 => Exit::Done,
            missed if missed == self.asked => Exit::Unreachable,
            _ => Exit::Partly,
        }
    }
}
