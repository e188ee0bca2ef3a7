//! Waiting for a condition with a deadline, never for a time.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take that needs no failure to be noticed first; generous, for two busy cores.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Asks `probe` again and again until it yields `Ok`; panics with its last `Err` after `within`.
pub(crate) async fn until<T, E: Debug, F: Future<Output = Result<T, E>>>(what: &str, within: Duration, mut probe: impl FnMut() -> F) -> T {
    let since = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) if since.elapsed() > within => panic!("{what}: not within {within:?}; last seen: {seen:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
