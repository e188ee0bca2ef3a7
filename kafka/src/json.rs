//! Avro values as JSON that a person reads and edits, and back by their schema. Byte strings and fixed ones are lower-case
//! hexadecimal digits, instants the numbers they are stored as; a union with null is the value itself or null.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, ResolvedSchema};
use apache_avro::types::Value;
use operation::Fault;
use serde_json::{Map, Value as Json};

/// `value` for a person.
#[must_use]
pub fn of_avro(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(truth) => Json::from(*truth),
        Value::Int(number) | Value::Date(number) | Value::TimeMillis(number) => Json::from(*number),
        Value::Long(number)
        | Value::TimeMicros(number)
        | Value::TimestampMillis(number)
        | Value::TimestampMicros(number)
        | Value::TimestampNanos(number)
        | Value::LocalTimestampMillis(number)
        | Value::LocalTimestampMicros(number)
        | Value::LocalTimestampNanos(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Double(number) => Json::from(*number),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => Json::from(hex::encode(bytes)),
        Value::String(text) | Value::Enum(_, text) => Json::from(text.as_str()),
        Value::Uuid(id) => Json::from(id.to_string()),
        Value::Union(_, inner) => of_avro(inner),
        Value::Array(items) => items.iter().map(of_avro).collect(),
        Value::Map(entries) => entries.iter().map(|(name, value)| (name.clone(), of_avro(value))).collect::<Map<_, _>>().into(),
        Value::Record(fields) => fields.iter().map(|(name, value)| (name.clone(), of_avro(value))).collect::<Map<_, _>>().into(),
        // None of ours; shown as the library sees them.
        Value::Decimal(_) | Value::BigDecimal(_) | Value::Duration(_) => Json::try_from(value.clone()).unwrap_or(Json::Null),
    }
}

/// `json` as a value of `schema`.
///
/// # Errors
/// Every place where the two do not fit: a field that is missing, unknown or of another type. Fields with a default must be
/// given too: what is sent is exactly what a person has seen.
pub fn to_avro(schema: &Schema, json: &Json) -> Result<Value, Vec<Fault>> {
    let resolved = ResolvedSchema::new(schema).map_err(|error| vec![fault("", &format!("its schema cannot be read: {error}"))])?;
    let mut reader = Reader { names: resolved.get_names(), faults: Vec::new() };
    let value = reader.read(schema, json, "");
    if reader.faults.is_empty() { Ok(value) } else { Err(reader.faults) }
}

fn fault(pointer: &str, detail: &str) -> Fault {
    Fault { pointer: pointer.to_owned(), detail: detail.to_owned() }
}

/// Collects every fault; the value it builds is thrown away when there is one.
struct Reader<'s> {
    names: &'s NamesRef<'s>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn read(&mut self, schema: &Schema, json: &Json, at: &str) -> Value {
        match schema {
            Schema::Null => self.want(json.is_null().then_some(Value::Null), at, "null"),
            Schema::Boolean => self.want(json.as_bool().map(Value::Boolean), at, "true or false"),
            Schema::Int => self.int(json, at, Value::Int),
            Schema::Date => self.int(json, at, Value::Date),
            Schema::TimeMillis => self.int(json, at, Value::TimeMillis),
            Schema::Long => self.long(json, at, Value::Long),
            Schema::TimeMicros => self.long(json, at, Value::TimeMicros),
            Schema::TimestampMillis => self.long(json, at, Value::TimestampMillis),
            Schema::TimestampMicros => self.long(json, at, Value::TimestampMicros),
            Schema::TimestampNanos => self.long(json, at, Value::TimestampNanos),
            Schema::LocalTimestampMillis => self.long(json, at, Value::LocalTimestampMillis),
            Schema::LocalTimestampMicros => self.long(json, at, Value::LocalTimestampMicros),
            Schema::LocalTimestampNanos => self.long(json, at, Value::LocalTimestampNanos),
            Schema::Double => self.want(json.as_f64().map(Value::Double), at, "a number"),
            Schema::Bytes => {
                self.want(json.as_str().and_then(|text| hex::decode(text).ok()).map(Value::Bytes), at, "bytes as hexadecimal digits")
            }
            Schema::Fixed(fixed) => {
                let bytes = json.as_str().and_then(|text| hex::decode(text).ok()).filter(|bytes| bytes.len() == fixed.size);
                self.want(bytes.map(|bytes| Value::Fixed(fixed.size, bytes)), at, &format!("{} bytes as hexadecimal digits", fixed.size))
            }
            Schema::String => self.want(json.as_str().map(|text| Value::String(text.to_owned())), at, "a text"),
            Schema::Uuid(_) => {
                self.want(json.as_str().and_then(|text| text.parse().ok()).map(Value::Uuid), at, "a UUID such as 0198c0de-…")
            }
            Schema::Enum(symbols) => {
                let position = json.as_str().and_then(|text| Some((symbols.symbols.iter().position(|s| s == text)?, text)));
                let value = position.and_then(|(position, text)| Some(Value::Enum(u32::try_from(position).ok()?, text.to_owned())));
                self.want(value, at, &format!("one of {}", symbols.symbols.join(", ")))
            }
            Schema::Array(array) => match json.as_array() {
                Some(items) => {
                    let items = items.iter().enumerate();
                    Value::Array(items.map(|(index, item)| self.read(&array.items, item, &format!("{at}/{index}"))).collect())
                }
                None => self.want(None, at, "a list"),
            },
            Schema::Map(map) => match json.as_object() {
                Some(entries) => {
                    let read = |(name, entry): (&String, &Json)| (name.clone(), self.read(&map.types, entry, &member(at, name)));
                    Value::Map(entries.iter().map(read).collect())
                }
                None => self.want(None, at, "an object"),
            },
            Schema::Union(union) => self.union(union.variants(), json, at),
            Schema::Record(record) => self.record(&record.fields, json, at),
            Schema::Ref { name } => match self.names.get(name) {
                Some(schema) => self.read(schema, json, at),
                None => self.want(None, at, &format!("a {name}, whose schema is not there")),
            },
            // Nobody here writes these.
            Schema::Float | Schema::Decimal(_) | Schema::BigDecimal | Schema::Duration(_) => {
                self.want(None, at, "left alone: this type cannot be edited")
            }
        }
    }

    fn want(&mut self, value: Option<Value>, at: &str, wanted: &str) -> Value {
        value.unwrap_or_else(|| {
            self.faults.push(fault(at, &format!("must be {wanted}")));
            Value::Null
        })
    }

    fn int(&mut self, json: &Json, at: &str, value: fn(i32) -> Value) -> Value {
        self.want(json.as_i64().and_then(|number| i32::try_from(number).ok()).map(value), at, "a whole number of 32 bits")
    }

    fn long(&mut self, json: &Json, at: &str, value: fn(i64) -> Value) -> Value {
        self.want(json.as_i64().map(value), at, "a whole number of 64 bits")
    }

    /// Unions are with null only, so the other variant is known; null where null is allowed.
    fn union(&mut self, variants: &[Schema], json: &Json, at: &str) -> Value {
        let chosen = variants
            .iter()
            .position(|variant| (*variant == Schema::Null) == json.is_null())
            .or_else(|| (!variants.is_empty()).then_some(0));
        match chosen.and_then(|index| Some((u32::try_from(index).ok()?, variants.get(index)?))) {
            Some((index, schema)) => Value::Union(index, Box::new(self.read(schema, json, at))),
            None => self.want(None, at, "left alone: its union has no variant"),
        }
    }

    fn record(&mut self, fields: &[apache_avro::schema::RecordField], json: &Json, at: &str) -> Value {
        let Some(object) = json.as_object() else { return self.want(None, at, "an object") };
        for name in object.keys().filter(|name| fields.iter().all(|field| field.name != **name)) {
            self.faults.push(fault(&member(at, name), "is no field of the schema"));
        }
        let mut values = Vec::with_capacity(fields.len());
        for field in fields {
            let pointer = member(at, &field.name);
            let value = match object.get(&field.name) {
                Some(json) => self.read(&field.schema, json, &pointer),
                None => {
                    self.faults.push(fault(&pointer, "is missing"));
                    Value::Null
                }
            };
            values.push((field.name.clone(), value));
        }
        Value::Record(values)
    }
}

/// A JSON Pointer one member deeper. Source: RFC 6901, section 3.
fn member(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::writer::datum::GenericDatumWriter;
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "Placed", "namespace": "t", "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "total", "type": {"type": "record", "name": "Money", "fields": [{"name": "minor", "type": "long"}, {"name": "currency", "type": "string"}]}},
        {"name": "refund", "type": ["null", "Money"], "default": null},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [{"name": "n", "type": "int"}]}}},
        {"name": "hash", "type": "bytes"},
        {"name": "a/b", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}"#;

    fn schema() -> Schema {
        // A name with a slash is not Avro's, so the pointer's escapes are tested by themselves.
        Schema::parse_str(&SCHEMA.replace("a/b", "at")).unwrap()
    }

    fn body() -> Json {
        json!({"id": "0198c0de-0000-7000-8000-000000000001", "total": {"minor": 5, "currency": "USD"}, "refund": {"minor": 1, "currency": "USD"},
               "lines": [{"n": 1}, {"n": 2}], "hash": "00ff", "at": 1_700_000_000_000_000_i64})
    }

    #[test]
    fn what_is_shown_can_be_sent_again_byte_for_byte() {
        let schema = schema();
        for body in [body(), {
            let mut body = body();
            body["refund"] = Json::Null;
            body["lines"] = json!([]);
            body
        }] {
            let bytes = GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(to_avro(&schema, &body).unwrap()).unwrap();
            let read = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut bytes.as_slice()).unwrap();
            assert_eq!(of_avro(&read), body);
        }
    }

    #[test]
    fn every_fault_is_named_at_its_place() {
        let mut body = body();
        body["id"] = json!("no uuid");
        body["lines"][1]["n"] = json!(3_000_000_000_i64);
        body["refund"] = json!({"minor": "5", "currency": "USD"});
        body["hash"] = json!("xyz");
        body["odd"] = json!(1);
        body.as_object_mut().unwrap().remove("at");
        let faults = to_avro(&schema(), &body).unwrap_err();
        let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/odd", "/id", "/refund/minor", "/lines/1/n", "/hash", "/at"], "{faults:?}");
        assert_eq!(to_avro(&schema(), &json!([])).unwrap_err()[0].pointer, "");
        assert_eq!(member("/x", "a/b~c"), "/x/a~1b~0c");
    }
}
