//! What the `.avsc` files say, checked against the rules of this project:
//! the file's place gives the record's full name; every record and field has a doc; field names are `snake_case`; a union is
//! `["null", T]` with default null; a name means one type everywhere.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use apache_avro::{
    Schema,
    schema::{RecordField, RecordSchema, UuidSchema},
};

/// Everything there is to generate.
#[derive(Debug, Default)]
pub(super) struct Types {
    /// The records of the files, by full name.
    pub(super) records: Vec<Record>,
    /// Every record type, nested ones too, by full name.
    pub(super) structs: BTreeMap<String, Struct>,
}

/// One `.avsc` file.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) full_name: String,
    pub(super) json: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Struct {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Int,
    Long,
    String,
    Bytes,
    Uuid,
    TimestampMicros,
    Array(Box<Kind>),
    Optional(Box<Kind>),
    /// Another record: namespace and name.
    Record(String, String),
}

/// Reads every `<namespace>/<Name>.avsc` below `folder`.
pub(super) fn load(folder: &Path) -> anyhow::Result<Types> {
    let mut types = Types::default();
    for namespace in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        for file in files(&namespace)? {
            let record = read(&file, &mut types.structs).with_context(|| format!("schema {}", file.display()))?;
            types.records.push(record);
        }
    }
    types.records.sort_unstable_by(|a, b| a.full_name.cmp(&b.full_name));
    Ok(types)
}

/// The `.avsc` files right in `folder`, sorted.
pub(super) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let files = entries(folder)?;
    if let Some(other) = files.iter().find(|file| file.extension().is_none_or(|extension| extension != "avsc")) {
        bail!("{} is not an .avsc file", other.display());
    }
    Ok(files)
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> { fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect() };
    let mut paths = list().with_context(|| format!("list {}", folder.display()))?;
    paths.sort_unstable();
    Ok(paths)
}

fn read(file: &Path, structs: &mut BTreeMap<String, Struct>) -> anyhow::Result<Record> {
    let json = fs::read_to_string(file).context("read")?;
    let Schema::Record(schema) = Schema::parse_str(&json).context("parse")? else { bail!("is not a record") };
    let full_name = schema.name.fullname(None);
    let part = |path: Option<&Path>| path.and_then(Path::file_stem).and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let expected = format!("{}.{}", part(file.parent()), part(Some(file)));
    ensure!(full_name == expected, "the record is named {full_name}, its place says {expected}");
    add(&schema, structs)?;
    Ok(Record { full_name, json })
}

fn add(schema: &RecordSchema, structs: &mut BTreeMap<String, Struct>) -> anyhow::Result<()> {
    let full_name = schema.name.fullname(None);
    let fields = schema.fields.iter().map(|field| self::field(field, structs).with_context(|| format!("field {full_name}.{}", field.name)));
    let made = Struct {
        namespace: schema.name.namespace().with_context(|| format!("record {full_name} has no namespace"))?.to_owned(),
        name: schema.name.name().to_owned(),
        doc: schema.doc.clone().with_context(|| format!("record {full_name} has no doc"))?,
        fields: fields.collect::<anyhow::Result<_>>()?,
    };
    match structs.get(&full_name) {
        Some(other) => ensure!(*other == made, "record {full_name} is defined differently in another file"),
        None => drop(structs.insert(full_name, made)),
    }
    Ok(())
}

fn field(field: &RecordField, structs: &mut BTreeMap<String, Struct>) -> anyhow::Result<Field> {
    let plain = field.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    ensure!(plain, "the name is not snake_case");
    let kind = kind(&field.schema, structs)?;
    let null = field.default.as_ref().is_some_and(serde_json::Value::is_null);
    ensure!(matches!(kind, Kind::Optional(_)) == null, "exactly the fields of type [\"null\", T] have the default null");
    ensure!(null || field.default.is_none(), "a default other than null needs support in the generator");
    Ok(Field { name: field.name.clone(), doc: field.doc.clone().context("has no doc")?, kind })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the types are Avro's, and every one without support is refused")]
fn kind(schema: &Schema, structs: &mut BTreeMap<String, Struct>) -> anyhow::Result<Kind> {
    let named = |name: &apache_avro::schema::Name| -> anyhow::Result<Kind> {
        Ok(Kind::Record(name.namespace().context("a record without a namespace")?.to_owned(), name.name().to_owned()))
    };
    Ok(match schema {
        Schema::Boolean => Kind::Boolean,
        Schema::Int => Kind::Int,
        Schema::Long => Kind::Long,
        Schema::String => Kind::String,
        Schema::Bytes => Kind::Bytes,
        Schema::Uuid(UuidSchema::String) => Kind::Uuid,
        Schema::TimestampMicros => Kind::TimestampMicros,
        Schema::Array(array) => Kind::Array(Box::new(kind(&array.items, structs)?)),
        Schema::Union(union) => match union.variants() {
            [Schema::Null, other] => Kind::Optional(Box::new(kind(other, structs)?)),
            other => bail!("a union of {} types is not [\"null\", T]", other.len()),
        },
        Schema::Record(record) => {
            add(record, structs)?;
            named(&record.name)?
        }
        Schema::Ref { name } => named(name)?,
        other => bail!("type {other:?} needs support in the generator"),
    })
}
