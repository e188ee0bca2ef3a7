//! How placed orders ended, as the public interface reports it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;
use uuid::Uuid;

use crate::client::{Call, Client, Error};
use crate::wire::{Order, Page, Status};

/// Orders asked for in one page.
const PAGE: usize = 100;
/// How many customers are asked about at once.
const AT_ONCE: usize = 8;
/// Wait before asking again about customers with orders that have not ended.
const PAUSE: Duration = Duration::from_millis(500);

/// Which orders to report, by the customer who placed them.
pub type ByCustomer = BTreeMap<Arc<str>, BTreeSet<Uuid>>;

/// Lists every customer's orders until all of `wanted` have ended or are stuck, or nothing more has ended for `patience`; then the answer
/// holds the others as they stand.
///
/// # Errors
/// [`Error`] when a request fails for good.
pub async fn when_ended(client: &Client, mut wanted: ByCustomer, patience: Duration) -> Result<HashMap<Uuid, Order>, Error> {
    let mut all = HashMap::new();
    let mut last_change = Instant::now();
    loop {
        let pages: Vec<(Arc<str>, Vec<Order>)> = stream::iter(wanted.clone())
            .map(|(customer, ids)| orders_of(client, customer, ids))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let before = open(&wanted);
        for (customer, orders) in pages {
            for order in orders {
                if (order.ended_at.is_some() || order.status == Status::Stuck)
                    && let Some(ids) = wanted.get_mut(&customer)
                {
                    ids.remove(&order.id);
                }
                all.insert(order.id, order);
            }
        }
        wanted.retain(|_, ids| !ids.is_empty());
        let after = open(&wanted);
        if after == 0 {
            return Ok(all);
        }
        if after < before {
            last_change = Instant::now();
        }
        if last_change.elapsed() > patience {
            return Ok(all);
        }
        sleep(PAUSE).await;
    }
}

/// Those of `ids` among the orders of `customer`.
async fn orders_of(client: &Client, customer: Arc<str>, ids: BTreeSet<Uuid>) -> Result<(Arc<str>, Vec<Order>), Error> {
    let mut found = Vec::with_capacity(ids.len());
    let mut after = String::new();
    loop {
        let call = Call::get(format!("/v1/orders?limit={PAGE}{after}"), Some(Arc::clone(&customer)));
        let page: Page = client.must(&call).await?.json(&call)?;
        found.extend(page.data.into_iter().filter(|order| ids.contains(&order.id)));
        match page.next {
            Some(cursor) if found.len() < ids.len() => after = format!("&after={cursor}"),
            _ => return Ok((customer, found)),
        }
    }
}

fn open(wanted: &ByCustomer) -> usize {
    wanted.values().map(BTreeSet::len).sum()
}
