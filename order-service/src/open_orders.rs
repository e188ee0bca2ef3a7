//! How many undecided orders a customer may have: stock is held for each.
//!
//! Counting at every placement would cost each of them a query, so a customer is given an allowance and counted only when it is used up.
//! The limit is therefore not exact: a customer that was not seen before is not counted for the first few placements, each instance
//! keeps its own books, and placements that have not been committed yet are not counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use contract::{Code, Problem};
use kafka::{Bridge, Units};
use values::CustomerId;

use crate::http::{busy, unavailable};
use crate::store;

/// Customers whose allowance is remembered; beyond, all are forgotten.
const CUSTOMERS_MAX: usize = 100_000;
/// Placements of a customer that was not seen before that are not counted.
const UNCOUNTED: u32 = 16;
/// The customer's newest orders that are looked at, as a multiple of the limit. Older ones that are still undecided are stuck.
const LOOKED_AT: i64 = 4;

/// The allowances of all customers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OpenOrders {
    max: u32,
    left: Arc<Mutex<HashMap<CustomerId, u32>>>,
}

impl OpenOrders {
    /// Allows about `max` undecided orders to each customer.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { max, left: Arc::default() }
    }

    /// Takes one from the customer's allowance.
    ///
    /// # Errors
    /// `too_many_open_orders`; `overloaded` or `unavailable` when they cannot be counted.
    pub async fn admit(&self, customer: &CustomerId, bridge: &Bridge, units: &Units) -> Result<(), Problem> {
        if self.take(customer) {
            return Ok(());
        }
        let (asked, units, looked_at) = (customer.clone(), units.clone(), i64::from(self.max).saturating_mul(LOOKED_AT));
        let count = async move { store::count_open(&mut *units.pool().acquire().await?, &asked, looked_at).await };
        let open = bridge.run(count).await.map_err(busy)?.map_err(|error| unavailable(&error))?;
        let Some(left) = self.max.checked_sub(open.saturating_add(1)) else { return Err(Problem::new(Code::TooManyOpenOrders)) };
        self.books().insert(customer.clone(), left);
        Ok(())
    }

    fn take(&self, customer: &CustomerId) -> bool {
        let mut books = self.books();
        if books.len() >= CUSTOMERS_MAX {
            books.clear();
        }
        // The clone is a customer's first placement only.
        let left = match books.get_mut(customer) {
            Some(left) => left,
            None => books.entry(customer.clone()).or_insert(UNCOUNTED.min(self.max)),
        };
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    }

    fn books(&self) -> std::sync::MutexGuard<'_, HashMap<CustomerId, u32>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
