//! What must hold before a rebuilt database is served from: a rebuild ends with its own verification.

use operation::RebuildCheck;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::Error;

/// Asked of every service.
const ALWAYS: &[(&str, &str)] = &[
    (
        "versions are contiguous",
        "SELECT count(*) FROM (SELECT stream FROM events GROUP BY stream HAVING count(*) <> max(version) OR min(version) <> 1) AS broken",
    ),
    (
        "every stream is folded to its last event",
        "SELECT count(*) FROM (SELECT stream, max(version) AS version FROM events GROUP BY stream) AS e
         FULL JOIN (SELECT stream, version FROM streams WHERE version > 0) AS s USING (stream, version)
         WHERE e.stream IS NULL OR s.stream IS NULL",
    ),
    ("no event is there twice", "SELECT count(*) FROM (SELECT event_id FROM events GROUP BY event_id HAVING count(*) > 1) AS twice"),
];

/// Judges the database in one snapshot.
pub(super) async fn judge(db: &mut PgConnection, conserved: &[(&'static str, &'static str)]) -> Result<Vec<RebuildCheck>, Error> {
    let failed = || Error::database("verify what was rebuilt");
    let mut tx = db.begin().await.map_err(failed())?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *tx).await.map_err(failed())?;
    let mut checks = Vec::new();
    for (what, broken) in ALWAYS.iter().chain(conserved) {
        let broken: i64 = sqlx::query_scalar(*broken).fetch_one(&mut *tx).await.map_err(failed())?;
        let found = if broken == 0 { "holds".to_owned() } else { format!("broken {broken} times") };
        checks.push(RebuildCheck { what: (*what).to_owned(), found, holds: broken == 0 });
    }
    for row in sqlx::query("SELECT name, row_count, hash FROM content_hash()").fetch_all(&mut *tx).await.map_err(failed())? {
        let (name, rows, hash): (String, i64, String) =
            (row.try_get(0).map_err(failed())?, row.try_get(1).map_err(failed())?, row.try_get(2).map_err(failed())?);
        checks.push(RebuildCheck { what: format!("content of {name}"), found: format!("{rows} rows, hash {hash}"), holds: true });
    }
    tx.rollback().await.map_err(failed())?;
    Ok(checks)
}
