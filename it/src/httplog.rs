//! The HTTP log: what a client asked and what it was told, one JSON object a line.
//!
//! The bench and the system tests write it, the checker reads it. It is the only witness of what was *acknowledged*.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the client knows of a request's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A 2xx answer: the system promised something.
    Ok,
    /// A 4xx answer: the system promised to have done nothing.
    Refused,
    /// No answer, or a 5xx one: either may have happened.
    Unknown,
}

impl Outcome {
    /// The outcome an answered request has by its status; no answer is [`Outcome::Unknown`].
    #[must_use]
    pub fn of_status(status: Option<u16>) -> Self {
        match status {
            Some(200..=299) => Self::Ok,
            Some(400..=499) => Self::Refused,
            _ => Self::Unknown,
        }
    }
}

/// What kind of request a line is about; the checker judges only requests that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `POST /v1/orders`.
    PlaceOrder,
    /// `POST /v1/orders/{id}/cancel`.
    CancelOrder(Uuid),
    /// `POST /v1/products`.
    CreateProducts,
    /// `POST /v1/stock`.
    ReceiveStock,
    /// Any other: a read, or a path that does not exist.
    Other,
}

/// One request as its sender saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was sent, Unix milliseconds of the sender's clock.
    pub at_ms: i64,
    /// Upper case.
    pub method: String,
    /// With the query, without scheme and host.
    pub path: String,
    /// The `Idempotency-Key` sent.
    #[serde(default)]
    pub key: Option<String>,
    /// The customer it was sent as.
    #[serde(default)]
    pub customer: Option<String>,
    /// [`hash`] of the body sent.
    #[serde(default)]
    pub body_hash: Option<String>,
    /// What the sender knows of its fate.
    pub outcome: Outcome,
    /// The status answered; none when no answer came.
    #[serde(default)]
    pub status: Option<u16>,
    /// The order named by the answer.
    #[serde(default)]
    pub order_id: Option<Uuid>,
    /// [`hash`] of the body answered.
    #[serde(default)]
    pub response_hash: Option<String>,
}

impl Entry {
    /// What was asked.
    #[must_use]
    pub fn request(&self) -> Request {
        if self.method != "POST" {
            return Request::Other;
        }
        let path = self.path.split('?').next().unwrap_or_default();
        match path {
            "/v1/orders" => Request::PlaceOrder,
            "/v1/products" => Request::CreateProducts,
            "/v1/stock" => Request::ReceiveStock,
            _ => path
                .strip_prefix("/v1/orders/")
                .and_then(|rest| rest.strip_suffix("/cancel"))
                .and_then(|id| Uuid::parse_str(id).ok())
                .map_or(Request::Other, Request::CancelOrder),
        }
    }
}

/// SHA-256 of a body in hex, as `body_hash` and `response_hash` hold it.
#[must_use]
pub fn hash(body: &[u8]) -> String {
    hex::encode(digest(&SHA256, body))
}

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, read or written.
    #[error("access HTTP log {}", path.display())]
    File {
        /// The log.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A line is no [`Entry`].
    #[error("parse line {line} of HTTP log {}", path.display())]
    Line {
        /// The log.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// Appends entries to a log from any number of tasks; buffered, so [`Writer::finish`] before the checker reads it.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
}

impl Writer {
    /// A new, empty log at `path`.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be created.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let file = File::create(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        Ok(Self { path, file: Mutex::new(BufWriter::new(file)) })
    }

    /// Where the log is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one line. Entries of concurrent callers never mix within a line; their order is the order of the calls.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn append(&self, entry: &Entry) -> Result<(), Error> {
        let failed = |source| Error::File { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(entry).map_err(|source| failed(source.into()))?;
        line.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line).map_err(failed)
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn finish(&self) -> Result<(), Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush().map_err(|source| Error::File { path: self.path.clone(), source })
    }
}

/// All entries of the log at `path`, in order.
///
/// # Errors
/// [`Error::File`] when it cannot be read, [`Error::Line`] when a line is no entry.
pub fn read(path: &Path) -> Result<Vec<Entry>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut entries = Vec::new();
    for (index, line) in BufReader::new(File::open(path).map_err(failed)?).lines().enumerate() {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        entries.push(serde_json::from_str(&line).map_err(|source| Error::Line { path: path.to_owned(), line: index + 1, source })?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(method: &str, path: &str) -> Entry {
        Entry {
            at_ms: 1,
            method: method.into(),
            path: path.into(),
            key: Some("k".into()),
            customer: Some("c".into()),
            body_hash: Some(hash(b"{}")),
            outcome: Outcome::of_status(Some(202)),
            status: Some(202),
            order_id: Some(Uuid::nil()),
            response_hash: None,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let log = Writer::create(folder.path().join("http.jsonl")).unwrap();
        let entries = [entry("POST", "/v1/orders"), entry("GET", "/v1/orders?limit=1")];
        for entry in &entries {
            log.append(entry).unwrap();
        }
        log.finish().unwrap();
        assert_eq!(read(log.path()).unwrap(), entries);
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.jsonl");
        std::fs::write(&path, "\n{\"at_ms\":true}\n").unwrap();
        assert!(matches!(read(&path), Err(Error::Line { line: 2, .. })));
    }

    #[test]
    fn requests_are_told_apart_by_method_and_path() {
        assert_eq!(entry("POST", "/v1/orders").request(), Request::PlaceOrder);
        assert_eq!(entry("POST", &format!("/v1/orders/{}/cancel", Uuid::nil())).request(), Request::CancelOrder(Uuid::nil()));
        assert_eq!(entry("GET", "/v1/orders").request(), Request::Other);
        assert_eq!(entry("POST", "/v1/stock?x").request(), Request::ReceiveStock);
    }

    #[test]
    fn only_a_4xx_answer_promises_that_nothing_happened() {
        assert_eq!(Outcome::of_status(Some(422)), Outcome::Refused);
        assert_eq!(Outcome::of_status(Some(503)), Outcome::Unknown);
        assert_eq!(Outcome::of_status(None), Outcome::Unknown);
    }
}
