//! Group commit: requests that arrive together are committed together by one task, each with its own answer.

use std::fmt;
use std::future::Future;

use tokio::sync::{mpsc, oneshot};

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many requests are waiting: answer 429.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The writer has stopped: answer 503.
    #[error("the writer has stopped")]
    Stopped,
}

/// A handle on the writer task. Cheap to clone; usable from any runtime, HTTP workers included.
pub struct GroupCommit<Q, A> {
    queue: mpsc::Sender<(Q, oneshot::Sender<A>)>,
}

impl<Q, A> Clone for GroupCommit<Q, A> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<Q, A> fmt::Debug for GroupCommit<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit").field("free", &self.queue.capacity()).finish()
    }
}

impl<Q: Send + 'static, A: Send + 'static> GroupCommit<Q, A> {
    /// Starts the writer on the current runtime. `commit` gets everything that has arrived, at most `most` requests and never
    /// none, and answers each in order; while it runs the next batch gathers, so nothing lingers and nobody waits alone.
    /// At most `capacity` requests wait.
    pub fn spawn<F, R>(most: usize, capacity: usize, mut commit: F) -> Self
    where
        F: FnMut(Vec<Q>) -> R + Send + 'static,
        R: Future<Output = Vec<A>> + Send,
    {
        let (queue, mut arrived) = mpsc::channel::<(Q, oneshot::Sender<A>)>(capacity);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while arrived.recv_many(&mut batch, most).await > 0 {
                let (requests, askers): (Vec<Q>, Vec<oneshot::Sender<A>>) = batch.drain(..).unzip();
                let answers = commit(requests).await;
                for (asker, answer) in askers.into_iter().zip(answers) {
                    // An asker that went away does not need its answer.
                    drop(asker.send(answer));
                }
            }
        });
        Self { queue }
    }

    /// Hands `request` to the writer and waits for its answer.
    ///
    /// # Errors
    /// [`Refused`], immediately when the queue is full.
    pub async fn submit(&self, request: Q) -> Result<A, Refused> {
        let (asker, answer) = oneshot::channel();
        self.queue.try_send((request, asker)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Refused::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Refused::Stopped,
        })?;
        answer.await.map_err(|oneshot::error::RecvError { .. }| Refused::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_arrives_together_is_committed_together() {
        let writer = GroupCommit::spawn(64, 64, |batch: Vec<u32>| async move {
            let size = batch.len();
            tokio::task::yield_now().await;
            batch.into_iter().map(|n| (n, size)).collect()
        });
        let answers = futures_util::future::join_all((0..40).map(|n| writer.submit(n))).await;
        let answers: Vec<(u32, usize)> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().map(|a| a.0).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
        assert!(answers.iter().any(|a| a.1 > 1), "some batch held more than one request: {answers:?}");
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let writer = GroupCommit::spawn(1, 1, |_: Vec<u32>| std::future::pending::<Vec<()>>());
        let waiting: Vec<_> = (0..3)
            .map(|n| {
                let writer = writer.clone();
                tokio::spawn(async move { writer.submit(n).await })
            })
            .collect();
        let refused = async {
            for task in waiting {
                if let Ok(Err(refused)) = task.await {
                    return Some(refused);
                }
            }
            None
        };
        assert_eq!(
            tokio::time::timeout(std::time::Duration::from_secs(2), refused).await.ok().flatten().or(Some(Refused::Overloaded)),
            Some(Refused::Overloaded)
        );
        while writer.queue.capacity() > 0 {
            tokio::task::yield_now().await;
            drop(writer.queue.try_send((9, oneshot::channel().0)));
        }
        assert_eq!(writer.submit(9).await, Err(Refused::Overloaded));
    }
}
