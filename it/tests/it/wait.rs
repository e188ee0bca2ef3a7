//! Waiting for a condition with a deadline, never for a time.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take that needs no failure to be noticed first; generous, for two busy cores.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Asks `probe` again and again until it yields `Ok`; panics with its last `Err` after `within`.
pub(crate) async fn until<T, E: Debug, F: Future<Output = Result<T, E>>>(what: &str, within: Duration, probe: impl FnMut() -> F) -> T {
    try_until(what, within, probe).await.unwrap_or_else(|late| panic!("{late}"))
}

/// As [`until`], for a caller who has more to say when it does not come.
pub(crate) async fn try_until<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<T, String> {
    let since = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(seen) if since.elapsed() > within => return Err(format!("{what}: not within {within:?}; last seen: {seen:?}")),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
