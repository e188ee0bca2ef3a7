//! The simulator's table. Its database is its own: nothing here shares a transaction with the payments.

use std::collections::HashMap;

use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;
use values::Currency;

use super::machine::{Mood, Operation, State};

/// ISO 4217: no currency is involved.
const NO_CURRENCY: &str = "XXX";

/// Makes the table where it is missing.
///
/// # Errors
/// The database does not answer, or its role may not make a table.
pub(crate) async fn create(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    // CREATE TABLE IF NOT EXISTS fails when two processes run it at once; the lock ends with the transaction.
    sqlx::raw_sql(include_str!("operations.sql")).execute(db).await.map(drop)
}

/// The rows of `keys`, locked in key order; keys never called have none.
///
/// # Errors
/// The database does not answer, or a row is not one that [`save`] wrote.
pub(crate) async fn load(db: &mut PgConnection, keys: &[Uuid]) -> Result<HashMap<Uuid, Operation>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT auth_key, state, mood, amount_minor, captured_minor, refunded_minor, currency, authorize_calls, capture_calls, void_calls
         FROM operations WHERE auth_key = ANY($1) ORDER BY auth_key FOR UPDATE",
    )
    .bind(keys)
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("auth_key")?, operation(row)?))).collect()
}

fn operation(row: &PgRow) -> Result<Operation, sqlx::Error> {
    let unreadable = |what: &str, text: &str| sqlx::Error::Decode(format!("{what} {text:?} of a provider operation").into());
    let (state, mood, currency): (&str, &str, &str) = (row.try_get("state")?, row.try_get("mood")?, row.try_get("currency")?);
    Ok(Operation {
        state: State::parse(state).ok_or_else(|| unreadable("state", state))?,
        mood: Mood::parse(mood).ok_or_else(|| unreadable("mood", mood))?,
        amount_minor: row.try_get("amount_minor")?,
        captured_minor: row.try_get("captured_minor")?,
        refunded_minor: row.try_get("refunded_minor")?,
        currency: match currency {
            NO_CURRENCY => None,
            text => Some(Currency::try_from(text).map_err(|_not_one| unreadable("currency", text))?),
        },
        authorize_calls: row.try_get("authorize_calls")?,
        capture_calls: row.try_get("capture_calls")?,
        void_calls: row.try_get("void_calls")?,
    })
}

/// Writes `rows`, each with whether it was loaded, in one statement. Answers whether all of them were written: another process
/// may have made a row that was not there to lock, and then everything is to be done again in a new transaction.
///
/// # Errors
/// The database does not answer.
pub(crate) async fn save(db: &mut PgConnection, rows: &[(Uuid, Operation, bool)]) -> Result<bool, sqlx::Error> {
    let new = rows.iter().filter(|(_, _, known)| !known).count();
    let of = |field: fn(&Operation) -> i64| rows.iter().map(|(_, row, _)| field(row)).collect::<Vec<_>>();
    let calls = |field: fn(&Operation) -> i32| rows.iter().map(|(_, row, _)| field(row)).collect::<Vec<_>>();
    let written = sqlx::query(
        "WITH rows AS (
             SELECT * FROM unnest($1::uuid[], $2::bool[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
                                  $9::int[], $10::int[], $11::int[])
                 AS r (auth_key, known, state, mood, amount_minor, captured_minor, refunded_minor, currency,
                       authorize_calls, capture_calls, void_calls)),
         changed AS (
             UPDATE operations o
             SET state = r.state, amount_minor = r.amount_minor, captured_minor = r.captured_minor, refunded_minor = r.refunded_minor,
                 currency = r.currency, authorize_calls = r.authorize_calls, capture_calls = r.capture_calls, void_calls = r.void_calls
             FROM rows r WHERE o.auth_key = r.auth_key AND r.known)
         INSERT INTO operations (auth_key, state, mood, amount_minor, captured_minor, refunded_minor, currency,
                                 authorize_calls, capture_calls, void_calls)
         SELECT auth_key, state, mood, amount_minor, captured_minor, refunded_minor, currency, authorize_calls, capture_calls, void_calls
         FROM rows WHERE NOT known ORDER BY auth_key
         ON CONFLICT (auth_key) DO NOTHING",
    )
    .bind(rows.iter().map(|(key, _, _)| *key).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, _, known)| *known).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row, _)| row.state.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row, _)| row.mood.as_str()).collect::<Vec<_>>())
    .bind(of(|row| row.amount_minor))
    .bind(of(|row| row.captured_minor))
    .bind(of(|row| row.refunded_minor))
    .bind(rows.iter().map(|(_, row, _)| row.currency.map_or(NO_CURRENCY.to_owned(), String::from)).collect::<Vec<_>>())
    .bind(calls(|row| row.authorize_calls))
    .bind(calls(|row| row.capture_calls))
    .bind(calls(|row| row.void_calls))
    .execute(db)
    .await?
    .rows_affected();
    Ok(usize::try_from(written) == Ok(new))
}
