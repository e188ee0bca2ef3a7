//! The two directions of a connection. What is read gets a due time and is written in order when it is due, so that a slow
//! link delays without narrowing.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Mode;
use super::frame::{self, Request};
use super::link::Shared;

/// Pieces on their way in one direction; more wait in the socket.
const ON_THE_WAY: usize = 1_024;
/// Bytes of a piece.
const PIECE: usize = 16 * 1_024;
/// How long what was read last may take to be written when the other side has ended.
const DELIVERED_WITHIN: Duration = Duration::from_secs(1);
/// No answer comes before the connection is cut.
const FOREVER: Duration = Duration::from_secs(3_600);
/// sqlx ends a transaction with this as a simple query; the zero byte ends the message.
const COMMIT: &[u8] = b"COMMIT\0";

/// What becomes of one Kafka request.
pub enum Act {
    /// It passes.
    Pass,
    /// It passes, and what follows it on its connection too, after this.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// It passes, and the connection is cut before its answer.
    CutAfter,
    /// Another frame passes in its place, and its answer is changed.
    Replace(Vec<u8>, Change),
    /// It is lost with its connection, as in a dead link; whoever judges may have kept the frame.
    Lose,
    /// It passes, and for so long no answer comes on its connection.
    HoldAnswers(Duration),
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pass => "Pass",
            Self::Wait(_) => "Wait",
            Self::CutAfter => "CutAfter",
            Self::Replace(..) => "Replace",
            Self::Lose => "Lose",
            Self::HoldAnswers(_) => "HoldAnswers",
        })
    }
}

/// What is done to an answer's frame.
pub type Change = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// Decides about every request of a link, in the order of their arrival; never waits itself.
pub type Judge = Box<dyn FnMut(&Request<'_>) -> Act + Send>;

/// What the answers of a connection wait for and suffer.
#[derive(Default)]
pub(super) struct Hold {
    /// Until when they are held back.
    until: Mutex<Option<Instant>>,
    /// Those that are changed, by their correlation id.
    changes: Mutex<HashMap<i32, Change>>,
}

impl Hold {
    fn set(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn until(&self) -> Option<Instant> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From the client to the server.
pub(super) async fn requests(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    number: u64,
    shared: &Shared,
    hold: &Hold,
) {
    let (send, receive) = mpsc::channel(ON_THE_WAY);
    let reading = async move {
        if shared.frames { frames(from, send, number, shared, hold).await } else { bytes(from, send, number, shared, hold).await }
    };
    both(reading, receive, to, shared).await;
}

/// From the server to the client.
pub(super) async fn answers(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    number: u64,
    shared: &Shared,
    hold: &Hold,
) {
    let (send, receive) = mpsc::channel(ON_THE_WAY);
    let reading = async move {
        let mut piece = vec![0; PIECE];
        let mut pieces = number;
        loop {
            let bytes = if shared.frames {
                let mut frame = frame::read(from).await?;
                // an answer begins with the correlation id of its request
                let correlation = frame.get(4..8).and_then(|id| id.try_into().ok()).map(i32::from_be_bytes);
                let change = correlation.and_then(|id| hold.changes.lock().unwrap_or_else(PoisonError::into_inner).remove(&id));
                if let Some(change) = change {
                    change(&mut frame);
                }
                frame
            } else {
                let size = from.read(&mut piece).await?;
                piece.get(..size).unwrap_or_default().to_vec()
            };
            if bytes.is_empty() {
                return Ok(());
            }
            pieces += 1;
            let mut due = due(shared, pieces);
            if let (Some(at), Some(until)) = (&mut due, hold.until()) {
                *at = (*at).max(until);
            }
            if let Some(due) = due {
                put(&send, due, bytes).await?;
            }
        }
    };
    both(reading, receive, to, shared).await;
}

/// Reads and writes until reading ends and what was read is written, or writing fails.
async fn both(
    reading: impl Future<Output = io::Result<()>>,
    mut receive: mpsc::Receiver<(Instant, Vec<u8>)>,
    to: &mut (impl AsyncWrite + Unpin),
    shared: &Shared,
) {
    let writing = async {
        let mut last = Instant::now();
        while let Some((due, bytes)) = receive.recv().await {
            // a piece never overtakes the one before it
            last = last.max(due);
            sleep_until(last).await;
            to.write_all(&bytes).await?;
            let mode = *shared.mode.borrow();
            if let Mode::Bandwidth { bytes_per_second } = mode {
                let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                tokio::time::sleep(Duration::from_secs(1) * size / bytes_per_second.max(1)).await;
            }
        }
        Ok::<(), io::Error>(())
    };
    tokio::pin!(writing);
    tokio::select! {
        ended = reading => {
            drop(ended);
            // what was read before the end is still delivered: `reading` took the sender with it
            drop(tokio::time::timeout(DELIVERED_WITHIN, &mut writing).await);
        }
        ended = &mut writing => drop(ended),
    }
}

/// When a piece read now is to be delivered; `None` when it is swallowed.
fn due(shared: &Shared, number: u64) -> Option<Instant> {
    let mode = *shared.mode.borrow();
    let now = Instant::now();
    match mode {
        Mode::Pass | Mode::Cut | Mode::Reset => Some(now),
        Mode::HalfOpen => {
            shared.seen.harmed.fetch_add(1, Ordering::Relaxed);
            None
        }
        Mode::Slow { by, jitter } => {
            shared.seen.harmed.fetch_add(1, Ordering::Relaxed);
            // spread well enough, and the same in every run: a multiple of the golden ratio
            let part = u32::try_from((number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) >> 40).unwrap_or(0);
            Some(now + by + jitter.mul_f64(f64::from(part) / f64::from(1_u32 << 24)))
        }
        Mode::Bandwidth { .. } => {
            shared.seen.harmed.fetch_add(1, Ordering::Relaxed);
            Some(now)
        }
    }
}

async fn put(send: &mpsc::Sender<(Instant, Vec<u8>)>, due: Instant, bytes: Vec<u8>) -> io::Result<()> {
    send.send((due, bytes)).await.map_err(io::Error::other)
}

/// The end that a link itself makes.
fn cut(shared: &Shared) -> io::Error {
    shared.seen.ended.fetch_add(1, Ordering::Relaxed);
    io::Error::new(io::ErrorKind::ConnectionAborted, "cut by the proxy")
}

async fn bytes(
    from: &mut (impl AsyncRead + Unpin),
    send: mpsc::Sender<(Instant, Vec<u8>)>,
    number: u64,
    shared: &Shared,
    hold: &Hold,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut pieces = number;
    loop {
        let size = from.read(&mut piece).await?;
        let Some(bytes) = piece.get(..size).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        pieces += 1;
        let last = bytes.ends_with(COMMIT) && take_one(shared);
        if last {
            hold.set(Instant::now() + FOREVER);
        }
        if let Some(due) = due(shared, pieces) {
            put(&send, due, bytes.to_vec()).await?;
        }
        if last {
            shared.seen.commits_cut.fetch_add(1, Ordering::Relaxed);
            return Err(cut(shared));
        }
    }
}

fn take_one(shared: &Shared) -> bool {
    shared.cut_commits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

async fn frames(
    from: &mut (impl AsyncRead + Unpin),
    send: mpsc::Sender<(Instant, Vec<u8>)>,
    number: u64,
    shared: &Shared,
    hold: &Hold,
) -> io::Result<()> {
    let mut frames = number;
    loop {
        let mut frame = frame::read(from).await?;
        frames += 1;
        let act = {
            let mut judge = shared.judge.lock().unwrap_or_else(PoisonError::into_inner);
            match (judge.as_mut(), Request::parse(&frame)) {
                (Some(judge), Some(request)) => judge(&request),
                _ => Act::Pass,
            }
        };
        let mut then_cut = false;
        match act {
            Act::Pass => {}
            Act::Wait(wait) => wait.await,
            Act::CutAfter => {
                then_cut = true;
                hold.set(Instant::now() + FOREVER);
            }
            Act::Replace(other, change) => {
                if let Some(request) = Request::parse(&frame) {
                    hold.changes.lock().unwrap_or_else(PoisonError::into_inner).insert(request.correlation, change);
                }
                frame = other;
            }
            Act::Lose => return Err(cut(shared)),
            Act::HoldAnswers(time) => hold.set(Instant::now() + time),
        }
        if let Some(due) = due(shared, frames) {
            put(&send, due, frame).await?;
        }
        if then_cut {
            return Err(cut(shared));
        }
    }
}
