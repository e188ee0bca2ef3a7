//! From HTTP workers (single-threaded runtimes) to the main runtime: database futures run there, bounded in number.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::group_commit::Refused;

/// Runs futures on the main runtime. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bridge {
    runtime: Handle,
    permits: Arc<Semaphore>,
}

impl Bridge {
    /// A bridge to the current runtime with at most `most` futures under way.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { runtime: Handle::current(), permits: Arc::new(Semaphore::new(most)) }
    }

    /// Runs `work` on the main runtime and returns what it returns.
    ///
    /// # Errors
    /// [`Refused::Overloaded`] at once when too much is under way, [`Refused::Stopped`] when the runtime is going down.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Refused> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_full| Refused::Overloaded)?;
        let task = self.runtime.spawn(async move {
            let result = work.await;
            drop(permit);
            result
        });
        task.await.map_err(|_cancelled| Refused::Stopped)
    }
}
