//! Avro values in the Confluent wire format: a zero byte, the schema id (4 bytes, big endian), the Avro datum.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use record::Record;
use schema_registry_converter::schema_registry_common::{BytesResult, get_bytes_result, get_payload};

use crate::failure::Failure;
use crate::json;
use crate::registry::Registry;

/// A schema known by id. Schemas live as long as the process: their number is bounded by the topics' subjects and versions.
struct Known {
    full_name: String,
    schema: &'static Schema,
    reader: GenericDatumReader<'static>,
}

/// A schema of our own, ready to write.
struct Own {
    id: u32,
    schema: &'static Schema,
    writer: GenericDatumWriter<'static>,
}

/// Encodes and decodes by schema id. Cheap to share; own schemas are fixed at start, foreign ids are fetched once.
pub struct Codec {
    own: HashMap<&'static str, Own>,
    known: RwLock<HashMap<u32, Arc<Known>>>,
    /// For a writer's schema id and a type of ours: nothing to resolve, or the schema to resolve to.
    resolutions: RwLock<HashMap<(u32, &'static str), Option<&'static Schema>>>,
    registry: Registry,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("own", &self.own.len()).finish_non_exhaustive()
    }
}

/// Why a schema could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The JSON is not an Avro schema.
    #[error("parse the schema of {subject}")]
    Schema {
        /// Which schema.
        subject: String,
        /// What is wrong with it.
        #[source]
        source: Box<apache_avro::Error>,
    },
}

/// Why a value that a person wrote has no bytes.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It does not fit its schema.
    #[error("the body does not fit its schema in {} places", .0.len())]
    Faults(Vec<operation::Fault>),
    /// The schema could not be had.
    #[error("read the schema of the body")]
    Schema(#[source] Failure),
}

/// Parses a schema for the life of the process.
fn leak(subject: &str, json: &str) -> Result<&'static Schema, Error> {
    let schema = Schema::parse_str(json).map_err(|source| Error::Schema { subject: subject.to_owned(), source: Box::new(source) })?;
    Ok(Box::leak(Box::new(schema)))
}

impl Codec {
    /// A codec whose own schemas have the given ids: `(full name, schema JSON, id)`.
    ///
    /// # Errors
    /// A schema that does not parse.
    pub fn new(registry: Registry, own: &[(&'static str, &'static str, u32)]) -> Result<Self, Error> {
        let mut map = HashMap::new();
        for &(full_name, json, id) in own {
            let schema = leak(full_name, json)?;
            let writer = GenericDatumWriter::builder(schema)
                .build()
                .map_err(|source| Error::Schema { subject: full_name.to_owned(), source: Box::new(source) })?;
            map.insert(full_name, Own { id, schema, writer });
        }
        Ok(Self { own: map, known: RwLock::default(), resolutions: RwLock::default(), registry })
    }

    /// The bytes published for `record`.
    ///
    /// # Errors
    /// Permanent: the type is not one of this service's, or the value does not fit its schema.
    pub fn encode<T: Record>(&self, record: &T) -> Result<Vec<u8>, Failure> {
        let own = self
            .own
            .get(T::FULL_NAME)
            .ok_or_else(|| Failure::permanent("not_my_record", format!("encode {}: not registered", T::FULL_NAME)))?;
        let datum = own
            .writer
            .write_ser_to_vec(record)
            .map_err(|error| Failure::permanent("encode_failed", format!("encode {}: {error}", T::FULL_NAME)))?;
        Ok(get_payload(own.id, datum))
    }

    /// Splits wire bytes into schema id and datum.
    ///
    /// # Errors
    /// Permanent: a null value or a wrong magic byte.
    pub fn split(bytes: Option<&[u8]>) -> Result<(u32, Vec<u8>), Failure> {
        match get_bytes_result(bytes) {
            BytesResult::Valid(id, datum) => Ok((id, datum.to_vec())),
            BytesResult::Null => Err(Failure::permanent("null_value", "the record has no value")),
            BytesResult::Invalid(_) => Err(Failure::permanent("wrong_magic_byte", "the value is not in the Confluent wire format")),
        }
    }

    /// The full name of the record type a schema id stands for; asks the registry the first time.
    ///
    /// # Errors
    /// Infrastructure: the registry does not know the id or does not answer.
    pub async fn full_name(&self, id: u32) -> Result<String, Failure> {
        Ok(self.known(id).await?.full_name.clone())
    }

    /// Reads a datum written with schema `id` as `T`, resolving an older or newer writer's schema to ours.
    /// The schema must have been met before by [`Codec::full_name`].
    ///
    /// # Errors
    /// Infrastructure when the id is unknown, permanent when the bytes do not decode.
    pub fn decode<T: Record>(&self, id: u32, datum: &[u8]) -> Result<T, Failure> {
        let known = self
            .cached(id)
            .ok_or_else(|| Failure::infrastructure("schema_unknown", format!("decode {}: schema id {id} is not loaded", T::FULL_NAME)))?;
        let undecodable =
            |error: apache_avro::Error| Failure::permanent("undecodable", format!("decode {} with schema id {id}: {error}", T::FULL_NAME));
        let mut bytes = datum;
        let value = match self.resolution::<T>(id, &known).map_err(|error| Failure::permanent("undecodable", error.to_string()))? {
            None => known.reader.read_deser(&mut bytes).map_err(undecodable)?,
            Some(ours) => {
                let reader = GenericDatumReader::builder(known.schema).reader_schema(ours).build().map_err(undecodable)?;
                apache_avro::from_value(&reader.read_value(&mut bytes).map_err(undecodable)?).map_err(undecodable)?
            }
        };
        if bytes.is_empty() {
            Ok(value)
        } else {
            Err(Failure::permanent("undecodable", format!("decode {}: {} bytes left over", T::FULL_NAME, bytes.len())))
        }
    }

    /// The value of wire bytes for a person, read with the schema it was written with: schema id, full name, JSON.
    ///
    /// # Errors
    /// As [`Codec::split`] and [`Codec::full_name`]; permanent when the bytes do not decode.
    pub async fn show(&self, bytes: Option<&[u8]>) -> Result<(u32, String, serde_json::Value), Failure> {
        let (id, datum) = Self::split(bytes)?;
        let known = self.known(id).await?;
        let undecodable =
            |what: String| Failure::permanent("undecodable", format!("decode {} with schema id {id}: {what}", known.full_name));
        let mut rest = datum.as_slice();
        let value = known.reader.read_value(&mut rest).map_err(|error| undecodable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(undecodable(format!("{} bytes left over", rest.len())));
        }
        Ok((id, known.full_name.clone(), json::of_avro(&value)))
    }

    /// The wire bytes of a value that a person wrote, in the schema `id`.
    ///
    /// # Errors
    /// [`EditError::Faults`] where it does not fit the schema.
    pub async fn write(&self, id: u32, value: &serde_json::Value) -> Result<Vec<u8>, EditError> {
        let known = self.known(id).await.map_err(EditError::Schema)?;
        let value = json::to_avro(known.schema, value).map_err(EditError::Faults)?;
        let unfit =
            |error: apache_avro::Error| EditError::Faults(vec![operation::Fault { pointer: String::new(), detail: error.to_string() }]);
        let writer = GenericDatumWriter::builder(known.schema).build().map_err(unfit)?;
        Ok(get_payload(id, writer.write_value_to_vec(value).map_err(unfit)?))
    }

    /// The id of a schema of record type `full_name`: our own, or the newest met so far.
    #[must_use]
    pub fn id_of(&self, full_name: &str) -> Option<u32> {
        let met = || self.known.read().ok()?.iter().filter(|(_, known)| known.full_name == full_name).map(|(id, _)| *id).max();
        self.own.get(full_name).map(|own| own.id).or_else(met)
    }

    /// Remembers the schema behind an id, as read from the service's own table at start.
    ///
    /// # Errors
    /// A schema that does not parse.
    pub fn remember(&self, id: u32, json: &str) -> Result<(), Error> {
        let schema = leak(&format!("id {id}"), json)?;
        let reader = GenericDatumReader::builder(schema)
            .build()
            .map_err(|source| Error::Schema { subject: format!("id {id}"), source: Box::new(source) })?;
        let full_name = schema.name().map_or_else(String::new, |name| name.fullname(None));
        let known = Arc::new(Known { full_name, schema, reader });
        if let Ok(mut map) = self.known.write() {
            map.insert(id, known);
        }
        Ok(())
    }

    /// The schema that a datum of writer `id` must be resolved to, or `None` when it was written with ours; compared as
    /// schemas once per id, since a registry may change white space.
    fn resolution<T: Record>(&self, id: u32, known: &Known) -> Result<Option<&'static Schema>, Error> {
        if let Some(found) = self.resolutions.read().ok().and_then(|map| map.get(&(id, T::FULL_NAME)).copied()) {
            return Ok(found);
        }
        let ours = self.own.get(T::FULL_NAME).map_or_else(|| leak(T::FULL_NAME, T::SCHEMA), |own| Ok(own.schema))?;
        let resolution = if known.schema == ours { None } else { Some(ours) };
        if let Ok(mut map) = self.resolutions.write() {
            map.insert((id, T::FULL_NAME), resolution);
        }
        Ok(resolution)
    }

    fn cached(&self, id: u32) -> Option<Arc<Known>> {
        self.known.read().ok()?.get(&id).cloned()
    }

    async fn known(&self, id: u32) -> Result<Arc<Known>, Failure> {
        if let Some(known) = self.cached(id) {
            return Ok(known);
        }
        metrics::counter!("schema_cache_miss_total").increment(1);
        let json = self
            .registry
            .schema_by_id(id)
            .await
            .map_err(|error| Failure::infrastructure("schema_unknown", format!("fetch schema id {id}: {error}")))?;
        self.remember(id, &json).map_err(|error| Failure::permanent("undecodable", format!("schema id {id}: {error}")))?;
        self.cached(id).ok_or_else(|| Failure::infrastructure("schema_unknown", format!("schema id {id} vanished")))
    }
}
