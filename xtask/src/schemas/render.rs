//! The types as Rust text, in the form `rustfmt` leaves alone.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context as _, bail};

use super::model::{Field, Kind, Struct, Types};

const HEAD: &str = "// Made by `cargo xtask schemas` from schemas/avro. Do not edit: change the schema and run it again.\n";

/// File name and text of every generated file.
pub(super) fn files(types: &Types) -> anyhow::Result<BTreeMap<String, String>> {
    let mut modules: BTreeMap<&str, Vec<&Struct>> = BTreeMap::new();
    for made in types.structs.values() {
        modules.entry(&made.namespace).or_default().push(made);
    }
    let mut files = BTreeMap::new();
    files.insert("mod.rs".to_owned(), table(types, modules.keys().copied())?);
    for (namespace, structs) in modules {
        files.insert(format!("{namespace}.rs"), module(namespace, &structs, types)?);
    }
    Ok(files)
}

fn table<'a>(types: &Types, namespaces: impl Iterator<Item = &'a str>) -> anyhow::Result<String> {
    let mut text = format!("{HEAD}\n");
    for namespace in namespaces {
        writeln!(text, "pub mod {namespace};")?;
    }
    text.push_str("\nuse crate::Entry;\n\n/// Every record type that is published, by full name.\npub const RECORDS: &[Entry] = &[\n");
    for record in &types.records {
        writeln!(text, "    Entry::of::<{}>(),", record.full_name.replace('.', "::"))?;
    }
    text.push_str("];\n");
    Ok(text)
}

fn module(namespace: &str, structs: &[&Struct], types: &Types) -> anyhow::Result<String> {
    let mut text = format!("{HEAD}\n//! Types of the namespace `{namespace}`.\n\n");
    let published = |made: &Struct| types.records.iter().any(|record| record.full_name == full_name(made));
    if structs.iter().any(|made| published(made)) {
        text.push_str("use record::Record;\n");
    }
    text.push_str("use serde::{Deserialize, Serialize};\n");
    if structs.iter().any(|made| made.fields.iter().any(|field| mentions_uuid(&field.kind))) {
        text.push_str("use uuid::Uuid;\n");
    }
    for made in structs {
        text.push('\n');
        definition(&mut text, made)?;
        if published(made) {
            text.push('\n');
            implementation(&mut text, made)?;
        }
    }
    Ok(text)
}

fn definition(text: &mut String, made: &Struct) -> anyhow::Result<()> {
    doc(text, "", &made.doc)?;
    text.push_str("#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]\n");
    writeln!(text, "pub struct {} {{", made.name)?;
    for field in &made.fields {
        doc(text, "    ", &field.doc)?;
        if let Some(attribute) = attribute(field)? {
            writeln!(text, "    #[serde({attribute})]")?;
        }
        writeln!(text, "    pub {}: {},", field.name, rust_type(&field.kind, &made.namespace))?;
    }
    text.push_str("}\n");
    Ok(())
}

fn implementation(text: &mut String, made: &Struct) -> anyhow::Result<()> {
    let full_name = full_name(made);
    let topic = schemas::topics::of(&full_name).with_context(|| format!("{full_name} is on no topic of schemas/src/topics.rs"))?;
    let constant = topic.name.replace(['.', '-'], "_").to_uppercase();
    writeln!(text, "impl Record for {} {{", made.name)?;
    writeln!(text, "    const FULL_NAME: &'static str = \"{full_name}\";")?;
    writeln!(text, "    const SCHEMA: &'static str = include_str!(\"../../avro/{}/{}.avsc\");", made.namespace, made.name)?;
    writeln!(text, "    const TOPIC: &'static str = crate::topics::{constant};")?;
    text.push_str("}\n");
    Ok(())
}

fn doc(text: &mut String, indent: &str, doc: &str) -> anyhow::Result<()> {
    for line in doc.lines() {
        // Angle brackets and brackets in prose would be read as HTML and links.
        let line = line.replace('<', "\\<").replace('[', "\\[");
        writeln!(text, "{indent}/// {}", quote_identifiers(&line))?;
    }
    Ok(())
}

/// Puts back quotes around words with an underscore, which otherwise would be read as emphasis.
fn quote_identifiers(line: &str) -> String {
    let quote = |word: &str| {
        let core = word.trim_end_matches(['.', ',', ';', ':']);
        match core.chars().all(|c| c == '_') || !core.contains('_') {
            true => word.to_owned(),
            false => format!("`{core}`{}", word.strip_prefix(core).unwrap_or_default()),
        }
    };
    line.split(' ').map(quote).collect::<Vec<_>>().join(" ")
}

/// How serde must write the field for Avro to take it.
fn attribute(field: &Field) -> anyhow::Result<Option<&'static str>> {
    let unsupported = || anyhow::anyhow!("field {}: bytes and uuids inside arrays or unions need support in the generator", field.name);
    Ok(match &field.kind {
        Kind::Bytes => Some("with = \"apache_avro::serde::bytes\""),
        Kind::Uuid => Some("with = \"crate::uuid_text\""),
        Kind::Array(inner) | Kind::Optional(inner) if matches!(**inner, Kind::Bytes | Kind::Uuid) => bail!(unsupported()),
        Kind::Optional(_) => Some("default"),
        Kind::Boolean | Kind::Int | Kind::Long | Kind::String | Kind::TimestampMicros | Kind::Array(_) | Kind::Record(..) => None,
    })
}

fn rust_type(kind: &Kind, namespace: &str) -> String {
    match kind {
        Kind::Boolean => "bool".to_owned(),
        Kind::Int => "i32".to_owned(),
        Kind::Long | Kind::TimestampMicros => "i64".to_owned(),
        Kind::String => "String".to_owned(),
        Kind::Bytes => "Vec<u8>".to_owned(),
        Kind::Uuid => "Uuid".to_owned(),
        Kind::Array(items) => format!("Vec<{}>", rust_type(items, namespace)),
        Kind::Optional(inner) => format!("Option<{}>", rust_type(inner, namespace)),
        Kind::Record(theirs, name) if theirs == namespace => name.clone(),
        Kind::Record(theirs, name) => format!("crate::{theirs}::{name}"),
    }
}

fn mentions_uuid(kind: &Kind) -> bool {
    match kind {
        Kind::Uuid => true,
        Kind::Array(inner) | Kind::Optional(inner) => mentions_uuid(inner),
        Kind::Boolean | Kind::Int | Kind::Long | Kind::String | Kind::Bytes | Kind::TimestampMicros | Kind::Record(..) => false,
    }
}

fn full_name(made: &Struct) -> String {
    format!("{}.{}", made.namespace, made.name)
}
