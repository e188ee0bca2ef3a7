use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use operation::{DECIDE_MAX, Decide, Decided, Filter, Group, Groups, LetterDetail, Letters, Target};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::list::{Of, groups_table};
use super::run_file::{Progress, Run, RunFile};
use super::{RedriveArgs, signed};
use crate::client::{Error, Service, Services, query};
use crate::exit::Exit;
use crate::output::{Output, Table};

/// How long a service that does not answer is asked again before the run stops.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a line tells the progress where nobody watches a bar.
const TELL: Duration = Duration::from_secs(5);

/// What a run did.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Summary {
    /// Whether anything was done, or this is the plan.
    executed: bool,
    /// Sent back by this command.
    redriven: u64,
    /// Decided before: by another operator, or by a broken run of this one.
    already: u64,
    /// Cannot be sent back.
    only_skip: u64,
}

/// What became of one letter, in `-o jsonl`.
#[derive(Debug, Serialize)]
struct LetterResult<'a> {
    letter: String,
    key: &'a str,
    outcome: &'a str,
}

pub(super) async fn run(arguments: &RedriveArgs, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let signature = signed(&arguments.signature)?;
    if !arguments.letters.is_empty() {
        return named(arguments, signature, services, output).await;
    }
    if arguments.filter.is_empty() && !arguments.all {
        return Err(Error::Usage("say which: letters, a filter, --group, or --all".to_owned()));
    }
    let chosen = services.of(arguments.filter.group.as_deref())?;
    let filter = arguments.filter.filter();
    let names: Vec<&str> = chosen.iter().map(|service| service.name).collect();
    let file = RunFile::new(&arguments.state.path(), &names, &filter)?;
    let broken = file.load();
    let plan = plan(&chosen, &filter, broken.as_ref()).await?;
    if !arguments.signature.execute {
        return print_plan(&plan, broken.as_ref(), arguments.rate, output);
    }
    if let Some(run) = &broken {
        let done: u64 = run.groups.values().map(|progress| progress.done).sum();
        output.note(&format!("going on with the run that {} started; it has sent back {done} letters", run.who));
    }
    let groups = plan.iter().map(|part| (part.service.name.to_owned(), part.progress.clone())).collect();
    let run = Run { filter: filter.clone(), who: broken.map_or_else(|| signature.0.clone(), |run| run.who), groups };
    file.save(&run)?;
    let total = plan.iter().flat_map(|part| &part.groups).map(|group| group.entry.letters).sum();
    let mut sender = Sender {
        signature,
        rate: arguments.rate,
        file: &file,
        run,
        summary: Summary { executed: true, ..Summary::default() },
        shown: Shown::new(total, output),
    };
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    for part in &plan {
        let mut stop = false;
        while !sender.finished(part.service.name) && !stop {
            sender.page(part.service, &filter, output).await?;
            // The letters in hand are finished before an interrupt counts.
            stop = futures_poll(&mut interrupt).await;
        }
        if stop {
            sender.shown.end();
            output.note("interrupted; the same command goes on from here");
            return Ok(Exit::Interrupted);
        }
    }
    sender.shown.end();
    file.remove();
    let summary = sender.summary;
    tell(&summary, output)?;
    Ok(if summary.only_skip > 0 { Exit::Partly } else { Exit::Done })
}

/// Whether the future is ready, without waiting for it.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => true,
        () = std::future::ready(()) => false,
    }
}

/// One group's part of a run.
#[derive(Debug)]
struct Part<'a> {
    service: &'a Service,
    groups: Vec<Of<Group>>,
    progress: Progress,
}

async fn plan<'a>(services: &[&'a Service], filter: &Filter, broken: Option<&Run>) -> Result<Vec<Part<'a>>, Error> {
    let mut parts = Vec::with_capacity(services.len());
    for service in services {
        let known = broken.and_then(|run| run.groups.get(service.name)).cloned();
        let bounded = Filter { before: known.as_ref().map(|known| known.before).or(filter.before), ..filter.clone() };
        let found: Groups = service.get("/ops/dlq/groups", &query(&bounded)).await?;
        let (group, now) = (found.group, found.now);
        let entry = |entry| Of { group: group.clone(), now, entry };
        let before = bounded.before.unwrap_or(now);
        let progress = known.unwrap_or(Progress { before, after: 0, done: 0, finished: false });
        parts.push(Part { service, groups: found.data.into_iter().map(entry).collect(), progress });
    }
    Ok(parts)
}

fn print_plan(plan: &[Part<'_>], broken: Option<&Run>, rate: u32, output: &mut Output) -> Result<Exit, Error> {
    let groups: Vec<&Of<Group>> = plan.iter().flat_map(|part| &part.groups).collect();
    let letters: u64 = groups.iter().map(|group| group.entry.letters).sum();
    let waiting: u64 = groups.iter().map(|group| group.entry.waiting).sum();
    let owned: Vec<Of<Group>> = groups.iter().map(|of| Of { group: of.group.clone(), now: of.now, entry: of.entry.clone() }).collect();
    output.list(&owned, groups_table)?;
    let seconds = letters.div_ceil(u64::from(rate));
    output.note(&format!(
        "this is the plan, nothing was done: {letters} letters would be sent back, and the {waiting} messages that wait behind them follow"
    ));
    output.note(&format!("at {rate} letters a second about {seconds} s; --execute --who … --why … does it"));
    if let Some(run) = broken {
        output.note(&format!("a run that {} started was broken off; --execute goes on with it", run.who));
    }
    Ok(Exit::Done)
}

/// Sends pages of letters back, in their order, no faster than the rate.
struct Sender<'a> {
    signature: (String, String),
    rate: u32,
    file: &'a RunFile,
    run: Run,
    summary: Summary,
    shown: Shown,
}

impl Sender<'_> {
    fn finished(&self, group: &str) -> bool {
        self.run.groups.get(group).is_none_or(|progress| progress.finished)
    }

    /// Small pages, so that little is in doubt when a run breaks off and a low rate is kept evenly.
    fn size(&self) -> usize {
        usize::try_from(self.rate / 4).unwrap_or(DECIDE_MAX).clamp(1, DECIDE_MAX)
    }

    async fn page(&mut self, service: &Service, filter: &Filter, output: &mut Output) -> Result<(), Error> {
        let started = Instant::now();
        let Some(progress) = self.run.groups.get(service.name).cloned() else { return Ok(()) };
        let mut asked = query(&Filter { before: Some(progress.before), ..filter.clone() });
        asked.extend([("after", progress.after.to_string()), ("limit", self.size().to_string())]);
        let page: Letters = patiently(output, || service.get("/ops/dlq/letters", &asked)).await?;
        let targets: Vec<Target> = page.data.iter().map(|letter| Target { id: letter.id, redrive_no: letter.redrive_no }).collect();
        let mut done = 0;
        if !targets.is_empty() {
            let (who, why) = self.signature.clone();
            let decide = Decide { who, why, letters: targets, execute: true };
            // Said twice it acts once: after a lost answer the letters are no longer as they were read.
            let decided: Decided = patiently(output, || service.post("/ops/dlq/redrive", &decide)).await?;
            for (letter, result) in page.data.iter().zip(&decided.results) {
                match result.outcome.as_str() {
                    "done" => done += 1,
                    "only_skip" => self.summary.only_skip += 1,
                    _ => self.summary.already += 1,
                }
                if output.format == crate::output::Format::Jsonl {
                    let name = format!("{}/{}", service.name, letter.id);
                    output.line(&LetterResult { letter: name, key: &letter.key.0, outcome: &result.outcome })?;
                }
            }
        }
        self.summary.redriven += done;
        if let Some(progress) = self.run.groups.get_mut(service.name) {
            progress.done += done;
            progress.after = page.data.last().map_or(progress.after, |letter| letter.id);
            progress.finished = page.next.is_none();
        }
        self.file.save(&self.run)?;
        let letters = u32::try_from(page.data.len()).unwrap_or(u32::MAX);
        self.shown.add(letters, output);
        if page.next.is_some() {
            sleep_until(started + Duration::from_secs(1) * letters / self.rate.max(1)).await;
        }
        Ok(())
    }
}

/// Asks again while the service does not answer, for a minute.
async fn patiently<T, F: Future<Output = Result<T, Error>>>(output: &mut Output, ask: impl Fn() -> F) -> Result<T, Error> {
    let give_up_at = Instant::now() + PATIENCE;
    let mut wait = Duration::from_millis(100);
    loop {
        match ask().await {
            Err(error) if error.exit() == Exit::Unreachable && Instant::now() < give_up_at => {
                output.note(&format!("ops: {error}; asking again"));
                sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(2));
            }
            done => return done,
        }
    }
}

/// Progress: a bar where somebody watches, a line now and then elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    told_at: Instant,
    done: u64,
    total: u64,
}

impl Shown {
    fn new(total: u64, output: &Output) -> Self {
        let bar = output.watched.then(|| {
            let bar = ProgressBar::new(total);
            match ProgressStyle::with_template("redrive {wide_bar} {pos}/{len} {per_sec} {elapsed}") {
                Ok(style) => bar.with_style(style),
                Err(_template) => bar,
            }
        });
        Self { bar, told_at: Instant::now(), done: 0, total }
    }

    fn add(&mut self, letters: u32, output: &mut Output) {
        self.done += u64::from(letters);
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if self.told_at.elapsed() >= TELL => {
                self.told_at = Instant::now();
                output.note(&format!("{}/{} letters", self.done, self.total));
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Letters by name: read, then decided, each service at once.
async fn named(arguments: &RedriveArgs, signature: (String, String), services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let (who, why) = signature;
    let execute = arguments.signature.execute;
    let mut targets: BTreeMap<&str, Vec<Target>> = BTreeMap::new();
    for name in &arguments.letters {
        let (service, id) = services.letter(name)?;
        let detail: LetterDetail = service.get(&format!("/ops/letters/{id}"), &[]).await?;
        targets.entry(service.name).or_default().push(Target { id, redrive_no: detail.letter.redrive_no });
    }
    let mut summary = Summary { executed: execute, ..Summary::default() };
    for (name, mut letters) in targets {
        // In the order in which they failed, however they were named.
        letters.sort_by_key(|target| target.id);
        letters.dedup_by_key(|target| target.id);
        let service = services.get(name)?;
        let decide = Decide { who: who.clone(), why: why.clone(), letters, execute };
        let decided: Decided = service.post("/ops/dlq/redrive", &decide).await?;
        for result in &decided.results {
            match result.outcome.as_str() {
                "done" => summary.redriven += 1,
                "only_skip" => summary.only_skip += 1,
                _ => summary.already += 1,
            }
        }
    }
    tell(&summary, output)?;
    if !execute {
        output.note("this is the plan, nothing was done; --execute --who … --why … does it");
    }
    Ok(match (summary.only_skip, summary.redriven) {
        (0, _) => Exit::Done,
        (_, 0) => Exit::Failed,
        (_, _) => Exit::Partly,
    })
}

fn tell(summary: &Summary, output: &mut Output) -> Result<(), Error> {
    output.one(summary, |summary| {
        let mut table = Table::new(&[if summary.executed { "REDRIVEN" } else { "WOULD BE REDRIVEN" }, "ALREADY DECIDED", "ONLY SKIP"], "");
        table.row([summary.redriven.to_string(), summary.already.to_string(), summary.only_skip.to_string()]);
        table.to_string()
    })
}
