//! The gate every schema passes before it is used: `FULL_TRANSITIVE`, so that any version of a record reads any other.
//! Checked offline against the frozen history in the tests, and against the registry's versions when a service starts.
//!
//! Stricter than Avro in one point: a field's type never changes at all, also not where Avro would promote it or where only
//! the logical type differs (`string` to `bytes`, microseconds to milliseconds): the bytes would decode and mean something
//! else.

use apache_avro::{
    Schema,
    error::CompatibilityError,
    schema::UuidSchema,
    schema_compatibility::{Compatibility, SchemaCompatibility},
};
use aws_lc_rs::digest;

/// Our schema and an older one of the same subject do not both read what the other wrote.
#[derive(Debug, thiserror::Error)]
#[error("{subject}: version {ours_version} (ours) is not fully compatible with version {theirs_version}: {reason}")]
pub struct Incompatible {
    /// The registry subject, `<topic>-<full name>`.
    pub subject: String,
    /// The version our schema is, or would become.
    pub ours_version: u32,
    /// The version it was checked against.
    pub theirs_version: u32,
    /// What stands between them.
    pub reason: Reason,
}

/// Why two schemas are not fully compatible.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// Our JSON is not an Avro schema.
    #[error("our schema does not parse: {0}")]
    OursUnreadable(String),
    /// Their JSON is not an Avro schema.
    #[error("their schema does not parse: {0}")]
    TheirsUnreadable(String),
    /// Another full name.
    #[error("the record was renamed from `{theirs}` to `{ours}`")]
    Renamed {
        /// The full name in our schema.
        ours: String,
        /// The full name in theirs.
        theirs: String,
    },
    /// A field has another type.
    #[error("field `{field}` changed its type from {theirs} to {ours}")]
    TypeChanged {
        /// Path of the field from the record.
        field: String,
        /// The type in our schema.
        ours: String,
        /// The type in theirs.
        theirs: String,
    },
    /// We have a field they never wrote, and nothing to put there.
    #[error("field `{0}` was added without a default")]
    AddedWithoutDefault(String),
    /// They need a field we no longer write, and they have nothing to put there.
    #[error("field `{0}` was removed, but had no default")]
    RemovedWithoutDefault(String),
    /// Anything else Avro's resolution rules refuse.
    #[error("{0}")]
    Unresolvable(String),
}

/// Checks our schema against every version of `subject` that exists, in both directions.
///
/// A version that is the [`same`] as ours gives ours its number; otherwise ours would become the one after the newest.
///
/// # Errors
/// The first version, in the given order, that is not fully compatible, and why.
pub fn check<S: AsRef<str>>(subject: &str, ours: &str, versions: &[(u32, S)]) -> Result<(), Incompatible> {
    let next = versions.iter().map(|(version, _)| *version).max().unwrap_or(0).saturating_add(1);
    let refuse = |ours_version, theirs_version, reason| Incompatible { subject: subject.to_owned(), ours_version, theirs_version, reason };
    let mine = Schema::parse_str(ours).map_err(|error| refuse(next, next, Reason::OursUnreadable(error.to_string())))?;
    let ours_version = versions.iter().find(|(_, json)| same(ours, json.as_ref())).map_or(next, |(version, _)| *version);
    for (version, json) in versions {
        let refuse = |reason| refuse(ours_version, *version, reason);
        let theirs = Schema::parse_str(json.as_ref()).map_err(|error| refuse(Reason::TheirsUnreadable(error.to_string())))?;
        fully_compatible(&mine, &theirs).map_err(refuse)?;
    }
    Ok(())
}

/// Whether two schemas are the same document, white space and the order of attributes aside: what a registry takes for the
/// same version.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    let parse = |json: &str| serde_json::from_str::<serde_json::Value>(json).ok();
    parse(a).is_some_and(|a| parse(b) == Some(a))
}

/// SHA-256 over the schema's parsing canonical form, in lower-case hex: equal for schemas that write the same bytes,
/// whatever their docs, defaults and white space.
///
/// # Errors
/// The JSON is not an Avro schema.
///
/// Source: Avro specification 1.12, "Parsing Canonical Form for Schemas".
pub fn fingerprint(schema: &str) -> Result<String, Box<apache_avro::Error>> {
    let canonical = Schema::parse_str(schema).map_err(Box::new)?.canonical_form();
    Ok(hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes())))
}

fn fully_compatible(ours: &Schema, theirs: &Schema) -> Result<(), Reason> {
    let name = |schema: &Schema| schema.name().map_or_else(|| kind(schema), |name| name.fullname(None));
    if name(ours) != name(theirs) {
        return Err(Reason::Renamed { ours: name(ours), theirs: name(theirs) });
    }
    same_types("", ours, theirs)?;
    let reads_theirs = SchemaCompatibility::can_read(theirs, ours).map_err(|error| explain("", &error, Reason::AddedWithoutDefault))?;
    let read_by_theirs = SchemaCompatibility::can_read(ours, theirs).map_err(|error| explain("", &error, Reason::RemovedWithoutDefault))?;
    match (reads_theirs, read_by_theirs) {
        (Compatibility::Full, Compatibility::Full) => Ok(()),
        (Compatibility::Partial, Compatibility::Full | Compatibility::Partial) => {
            Err(Reason::Unresolvable("only some of their values can be read with our schema".to_owned()))
        }
        (Compatibility::Full, Compatibility::Partial) => {
            Err(Reason::Unresolvable("only some of our values can be read with their schema".to_owned()))
        }
    }
}

/// Every field that both have keeps its type. Fields that one side lacks are left to Avro's rules.
fn same_types(path: &str, ours: &Schema, theirs: &Schema) -> Result<(), Reason> {
    match (ours, theirs) {
        (Schema::Record(mine), Schema::Record(other)) if kind(ours) == kind(theirs) => {
            for field in &mine.fields {
                if let Some(before) = other.fields.iter().find(|before| before.name == field.name) {
                    same_types(&join(path, &field.name), &field.schema, &before.schema)?;
                }
            }
            Ok(())
        }
        (Schema::Array(mine), Schema::Array(other)) => same_types(path, &mine.items, &other.items),
        (Schema::Map(mine), Schema::Map(other)) => same_types(path, &mine.types, &other.types),
        (Schema::Union(mine), Schema::Union(other)) if mine.variants().len() == other.variants().len() => {
            mine.variants().iter().zip(other.variants()).try_for_each(|(mine, other)| same_types(path, mine, other))
        }
        (mine, other) if kind(mine) == kind(other) => Ok(()),
        (mine, other) => Err(Reason::TypeChanged { field: path.to_owned(), ours: kind(mine), theirs: kind(other) }),
    }
}

/// Avro's reason in our words; `missing` says what a missing default means in the direction that was checked.
fn explain(path: &str, error: &CompatibilityError, missing: fn(String) -> Reason) -> Reason {
    if let CompatibilityError::FieldTypeMismatch(field, inner) = error {
        return explain(&join(path, field), inner, missing);
    }
    if let CompatibilityError::MissingDefaultValue(field) = error {
        return missing(join(path, field));
    }
    Reason::Unresolvable(if path.is_empty() { error.to_string() } else { format!("field `{path}`: {error}") })
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// The type in the words of the specification, logical type included, names in full.
fn kind(schema: &Schema) -> String {
    let plain = match schema {
        Schema::Null => "null",
        Schema::Boolean => "boolean",
        Schema::Int => "int",
        Schema::Long => "long",
        Schema::Float => "float",
        Schema::Double => "double",
        Schema::Bytes => "bytes",
        Schema::String => "string",
        Schema::Array(array) => return format!("array of {}", kind(&array.items)),
        Schema::Map(map) => return format!("map of {}", kind(&map.types)),
        Schema::Union(union) => return format!("[{}]", union.variants().iter().map(kind).collect::<Vec<_>>().join(", ")),
        // A second use of a name is a reference; it is the same type as the definition.
        Schema::Record(record) => return record.name.fullname(None),
        Schema::Ref { name } => return name.fullname(None),
        Schema::Enum(symbols) => return format!("enum {}", symbols.name.fullname(None)),
        Schema::Fixed(fixed) => return format!("fixed {} of {} bytes", fixed.name.fullname(None), fixed.size),
        Schema::Decimal(decimal) => return format!("decimal({}, {})", decimal.precision, decimal.scale),
        Schema::BigDecimal => "bytes (big-decimal)",
        Schema::Uuid(UuidSchema::String) => "string (uuid)",
        Schema::Uuid(UuidSchema::Bytes) => "bytes (uuid)",
        Schema::Uuid(UuidSchema::Fixed(_)) => "fixed (uuid)",
        Schema::Date => "int (date)",
        Schema::TimeMillis => "int (time-millis)",
        Schema::TimeMicros => "long (time-micros)",
        Schema::TimestampMillis => "long (timestamp-millis)",
        Schema::TimestampMicros => "long (timestamp-micros)",
        Schema::TimestampNanos => "long (timestamp-nanos)",
        Schema::LocalTimestampMillis => "long (local-timestamp-millis)",
        Schema::LocalTimestampMicros => "long (local-timestamp-micros)",
        Schema::LocalTimestampNanos => "long (local-timestamp-nanos)",
        Schema::Duration(_) => "fixed (duration)",
    };
    plain.to_owned()
}
