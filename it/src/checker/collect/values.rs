//! Values: Confluent wire format, decoded with the very schemas that the registry answers.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;

use super::super::message::Body;
use super::super::world::{Hash, Record};
use super::Error;
use super::topics::Raw;

/// Records decoded by one thread at a time.
const CHUNK: usize = 4_096;

/// Decodes all values; what cannot be decoded becomes [`Body::Unreadable`], which is a violation and no error here.
///
/// # Errors
/// [`Error::Registry`] when the registry does not answer; an id it does not know is a violation.
pub(super) async fn decode(registry: &str, raw: Vec<Raw>) -> Result<Vec<Record>, Error> {
    let ids: BTreeSet<u32> = raw.iter().filter_map(|record| schema_id(&record.value)).collect();
    let schemas = schemas(registry, ids).await?;
    tokio::task::spawn_blocking(move || decode_all(raw, &schemas)).await.map_err(Error::Background)
}

#[derive(Deserialize)]
struct Answer {
    schema: String,
}

/// The schemas of `ids`, parsed; `Err` in words for an id that the registry does not know or whose schema is none.
async fn schemas(registry: &str, ids: BTreeSet<u32>) -> Result<HashMap<u32, Result<Schema, String>>, Error> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().map_err(Error::Client)?;
    let mut schemas = HashMap::new();
    for id in ids {
        let failed = |source| Error::Registry { id, source };
        let answer = client.get(format!("{}/schemas/ids/{id}", registry.trim_end_matches('/'))).send().await.map_err(failed)?;
        let schema = if answer.status() == reqwest::StatusCode::NOT_FOUND {
            Err(format!("schema {id} is unknown to the registry"))
        } else {
            let answer: Answer = answer.error_for_status().map_err(failed)?.json().await.map_err(failed)?;
            Schema::parse_str(&answer.schema).map_err(|fault| format!("schema {id} is no Avro schema: {fault}"))
        };
        schemas.insert(id, schema);
    }
    Ok(schemas)
}

/// The schema id of a value: 0, then four bytes, big end first.
fn schema_id(value: &[u8]) -> Option<u32> {
    match value {
        [0, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

fn decode_all(raw: Vec<Raw>, schemas: &HashMap<u32, Result<Schema, String>>) -> Vec<Record> {
    let readers: HashMap<u32, Result<(String, GenericDatumReader<'_>), String>> = schemas
        .iter()
        .map(|(id, schema)| {
            let reader = schema.as_ref().map_err(Clone::clone).and_then(|schema| {
                let name = schema.name().map(ToString::to_string).ok_or_else(|| format!("schema {id} is no record"))?;
                let reader = GenericDatumReader::builder(schema).build().map_err(|fault| fault.to_string())?;
                Ok((name, reader))
            });
            (*id, reader)
        })
        .collect();
    let readers = &readers;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut chunks: Vec<Vec<Raw>> = Vec::new();
    let mut raw = raw.into_iter().peekable();
    while raw.peek().is_some() {
        chunks.push(raw.by_ref().take(CHUNK).collect());
    }
    let mut records = Vec::new();
    let mut chunks = chunks.into_iter().peekable();
    while chunks.peek().is_some() {
        let batch: Vec<Vec<Raw>> = chunks.by_ref().take(workers).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = batch
                .into_iter()
                .map(|chunk| scope.spawn(move || chunk.into_iter().map(|record| decode_one(record, readers)).collect::<Vec<_>>()))
                .collect();
            for thread in threads {
                match thread.join() {
                    Ok(decoded) => records.extend(decoded),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
    }
    records
}

fn decode_one(raw: Raw, readers: &HashMap<u32, Result<(String, GenericDatumReader<'_>), String>>) -> Record {
    let body = match schema_id(&raw.value).and_then(|id| readers.get(&id)) {
        None => Body::Unreadable("value is not in Confluent wire format".into()),
        Some(Err(fault)) => Body::Unreadable(fault.clone()),
        Some(Ok((full_name, reader))) => {
            let mut rest = raw.value.get(5..).unwrap_or_default();
            match reader.read_value(&mut rest) {
                Ok(_) if !rest.is_empty() => Body::Unreadable(format!("{full_name}: {} bytes follow the value", rest.len())),
                Ok(value) => Body::of_avro(full_name, &value),
                Err(fault) => Body::Unreadable(format!("{full_name}: {fault}")),
            }
        }
    };
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, &raw.value).as_ref());
    Record {
        topic: raw.topic,
        partition: raw.partition,
        offset: raw.offset,
        committed: raw.committed,
        at_ms: raw.at_ms,
        key: raw.key,
        headers: raw.headers,
        hash,
        body,
    }
}
