//! Waiting for a condition with a deadline, never for a time.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take that needs no failure to be noticed first; generous, for two busy cores.
pub const SOON: Duration = Duration::from_secs(60);
/// How long a system may stand still before it is judged as it is: a sabotaged one may do so for good.
#[must_use]
pub fn patience(sabotaged: bool) -> Duration {
    if sabotaged { Duration::from_secs(15) } else { SOON }
}

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it yields `Ok(Ok(_))`.
///
/// # Errors
/// Its own, at once; after `within`, what it last saw.
pub async fn until<T, F>(what: &str, within: Duration, mut probe: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Result<T, String>>>,
{
    let since = Instant::now();
    loop {
        match probe().await? {
            Ok(value) => return Ok(value),
            Err(seen) if since.elapsed() > within => anyhow::bail!("{what}: not within {within:?}; last seen: {seen}"),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}
