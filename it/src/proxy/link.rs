//! A link: a port that forwards to another, and how it is made to fail.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Mode;
use super::connection;
use super::pump::Judge;

/// What happened on a link.
#[derive(Debug, Default)]
pub struct Seen {
    /// Connections taken.
    pub connections: AtomicU64,
    /// Connections that a mode or a judge ended.
    pub ended: AtomicU64,
    /// Pieces that were swallowed, delayed or slowed.
    pub harmed: AtomicU64,
    /// `COMMIT`s after which the connection was cut.
    pub commits_cut: AtomicU64,
}

/// What a link and its connections share.
pub(super) struct Shared {
    pub(super) target: u16,
    /// Whether requests are read as Kafka's frames.
    pub(super) frames: bool,
    pub(super) mode: watch::Sender<Mode>,
    pub(super) judge: Mutex<Option<Judge>>,
    /// How many more `COMMIT`s lose their connection.
    pub(super) cut_commits: AtomicU64,
    pub(super) seen: Seen,
}

/// A port that is held but leads nowhere yet: clients wait in the system's queue.
#[derive(Debug)]
pub struct Listening {
    name: String,
    port: u16,
    listener: TcpListener,
}

/// A running link; it ends when it goes out of scope.
pub struct Link {
    name: String,
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("name", &self.name).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Listening {
    /// Takes a free port.
    ///
    /// # Errors
    /// None is free.
    pub async fn at(name: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Ok(Self { name: name.to_owned(), port: listener.local_addr()?.port(), listener })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Forwards to `target` from now on; with `frames`, as one who knows Kafka's requests.
    #[must_use]
    pub fn forward(self, target: u16, frames: bool) -> Link {
        let shared = Arc::new(Shared {
            target,
            frames,
            mode: watch::Sender::new(Mode::Pass),
            judge: Mutex::new(None),
            cut_commits: AtomicU64::new(0),
            seen: Seen::default(),
        });
        let task = tokio::spawn(accept(self.listener, Arc::clone(&shared)));
        Link { name: self.name, port: self.port, shared, task }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut number = 0;
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                number += 1;
                shared.seen.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection::serve(client, number, Arc::clone(&shared)));
            }
            // too many open files, or the client was gone already
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

impl Link {
    /// A link to `target` on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(name: &str, target: u16) -> io::Result<Self> {
        Ok(Listening::at(name).await?.forward(target, false))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port that clients are to use.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port it leads to.
    #[must_use]
    pub fn target(&self) -> u16 {
        self.shared.target
    }

    /// What happened on it.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// Treats everything so from now on, what is open included.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Cuts the connection of each of the next `count` transactions of PostgreSQL right after its `COMMIT` was sent: the
    /// server commits, the client does not learn of it.
    pub fn cut_after_commit(&self, count: u64) {
        self.shared.cut_commits.store(count, Ordering::Relaxed);
    }

    /// Has every Kafka request judged, or none.
    pub fn judge(&self, judge: Option<Judge>) {
        *self.shared.judge.lock().unwrap_or_else(PoisonError::into_inner) = judge;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
