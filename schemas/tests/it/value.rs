//! Any value a schema allows.

use std::collections::HashMap;

use apache_avro::{Schema, schema::UuidSchema, types::Value};
use proptest::prelude::*;
use uuid::Uuid;

/// Definitions met so far, for references to them.
type Names = HashMap<String, Schema>;

/// A strategy for values of `schema`.
pub(crate) fn any_of(schema: &Schema) -> BoxedStrategy<Value> {
    let mut names = Names::new();
    collect(schema, &mut names);
    strategy(schema, &names)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only these types of Avro's have a type inside")]
fn collect(schema: &Schema, names: &mut Names) {
    match schema {
        Schema::Record(record) => {
            names.insert(record.name.fullname(None), schema.clone());
            record.fields.iter().for_each(|field| collect(&field.schema, names));
        }
        Schema::Array(array) => collect(&array.items, names),
        Schema::Union(union) => union.variants().iter().for_each(|variant| collect(variant, names)),
        _ => {}
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a type of Avro's that the schemas begin to use stops the test")]
fn strategy(schema: &Schema, names: &Names) -> BoxedStrategy<Value> {
    match schema {
        Schema::Null => Just(Value::Null).boxed(),
        Schema::Int => any::<i32>().prop_map(Value::Int).boxed(),
        Schema::Long => any::<i64>().prop_map(Value::Long).boxed(),
        Schema::TimestampMicros => any::<i64>().prop_map(Value::TimestampMicros).boxed(),
        Schema::String => ".{0,20}".prop_map(Value::String).boxed(),
        Schema::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        Schema::Uuid(UuidSchema::String) => any::<u128>().prop_map(|bits| Value::Uuid(Uuid::from_u128(bits))).boxed(),
        Schema::Array(array) => prop::collection::vec(strategy(&array.items, names), 0..4).prop_map(Value::Array).boxed(),
        Schema::Union(union) => {
            let variants = (0_u32..).zip(union.variants());
            let variants = variants.map(|(n, variant)| strategy(variant, names).prop_map(move |v| Value::Union(n, Box::new(v))).boxed());
            prop::strategy::Union::new(variants).boxed()
        }
        Schema::Record(record) => {
            let fields: Vec<_> = record.fields.iter().map(|field| (Just(field.name.clone()), strategy(&field.schema, names))).collect();
            fields.prop_map(Value::Record).boxed()
        }
        Schema::Ref { name } => strategy(names.get(&name.fullname(None)).unwrap(), names),
        other => panic!("no values for {other:?} yet"),
    }
}
