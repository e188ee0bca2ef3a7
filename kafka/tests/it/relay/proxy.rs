//! A proxy before the broker that knows Kafka's frames: it can lose an `EndTxn` request and bring it back later, and it can
//! hold back an answer to one.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// `EndTxn`. Source: Kafka protocol guide, API keys.
const END_TXN: i16 = 26;
/// How long an answer is held back when it is: above the relay's limit for a commit without doubt.
const HOLD: Duration = Duration::from_millis(450);

/// What the proxy did and saw.
#[derive(Debug, Default)]
pub(super) struct Record {
    seen: AtomicU64,
    /// `EndTxn` requests that were lost with their connection.
    pub(super) lost: AtomicU64,
    /// Answers to `EndTxn` requests that were held back.
    pub(super) held: AtomicU64,
    /// Lost requests by transactional id.
    late: Mutex<HashMap<Vec<u8>, Lost>>,
    /// The broker's error codes for requests that came late.
    pub(super) codes: Mutex<Vec<i16>>,
}

/// A request that will come late.
#[derive(Debug)]
struct Lost {
    request: Vec<u8>,
    /// Whether the client's second copy of it has passed.
    repeated: bool,
}

/// Forwards from `listener` to the broker's port until the test ends.
pub(super) fn start(listener: TcpListener, broker: u16) -> Arc<Record> {
    let record = Arc::new(Record::default());
    let shared = Arc::clone(&record);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(client, broker, Arc::clone(&shared)));
        }
    });
    record
}

async fn serve(client: TcpStream, broker: u16, record: Arc<Record>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", broker)).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let pause = tokio::sync::Mutex::new(());
    // Either direction ending closes both.
    tokio::select! {
        _ = requests(&mut from_client, &mut to_server, broker, &record, &pause) => {}
        _ = answers(&mut from_server, &mut to_client, &pause) => {}
    }
}

async fn answers(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, pause: &tokio::sync::Mutex<()>) -> io::Result<()> {
    loop {
        let answer = frame(from).await?;
        drop(pause.lock().await);
        to.write_all(&answer).await?;
    }
}

async fn requests(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    broker: u16,
    record: &Record,
    pause: &tokio::sync::Mutex<()>,
) -> io::Result<()> {
    loop {
        let request = frame(from).await?;
        if i16::from_be_bytes([request[4], request[5]]) != END_TXN {
            to.write_all(&request).await?;
            continue;
        }
        let id = transactional_id(&request);
        if record.late.lock().unwrap().get(&id).is_some_and(|lost| lost.repeated) {
            let lost = record.late.lock().unwrap().remove(&id).unwrap();
            let code = deliver(&lost.request, broker).await?;
            record.codes.lock().unwrap().push(code);
        }
        if let Some(lost) = record.late.lock().unwrap().get_mut(&id) {
            lost.repeated = true;
        }
        match record.seen.fetch_add(1, Ordering::Relaxed) % 20 {
            9 => {
                // As a dead link: the request is gone, and so is the connection. It comes late, and as an abort.
                let mut abort = request;
                *abort.last_mut().unwrap() = 0;
                record.late.lock().unwrap().insert(id, Lost { request: abort, repeated: false });
                record.lost.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            19 => {
                let held = pause.lock().await;
                to.write_all(&request).await?;
                record.held.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(HOLD).await;
                drop(held);
            }
            _ => to.write_all(&request).await?,
        }
    }
}

/// One frame with its four bytes of length.
async fn frame(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let mut frame = vec![0; 4 + usize::try_from(u32::from_be_bytes(length)).unwrap()];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

/// Of an `EndTxn` request, version 0 or 1: length, key, version, correlation id, client id, then the transactional id.
fn transactional_id(request: &[u8]) -> Vec<u8> {
    let text = |at: usize| usize::from(u16::from_be_bytes([request[at], request[at + 1]]));
    let at = 12 + 2 + text(12);
    request[at + 2..at + 2 + text(at)].to_vec()
}

/// Sends a request on a connection of its own; the error code of the answer: length, correlation id, throttle time, code.
async fn deliver(request: &[u8], broker: u16) -> io::Result<i16> {
    let (mut from, mut to) = TcpStream::connect(("127.0.0.1", broker)).await?.into_split();
    to.write_all(request).await?;
    let answer = frame(&mut from).await?;
    Ok(i16::from_be_bytes([answer[12], answer[13]]))
}
