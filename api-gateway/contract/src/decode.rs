//! The tree to a wire type by serde, with an error type that keeps what serde knows: which field, and what was wrong.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor},
    forward_to_deserialize_any,
};

use crate::{
    Code, Fault,
    json::Node,
    pointer::{Step, from_fault_up},
};

/// Decodes `node`.
///
/// # Errors
/// The first member that is unknown, missing or of the wrong type, with its place.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node<'_>) -> Result<T, Fault> {
    T::deserialize(Source(node)).map_err(|error| Fault::new(from_fault_up(&error.steps), error.code, error.detail))
}

/// A whole number as it came: one that does not fit is kept at the nearest end, so that a range check refuses it as out
/// of range, not as another type. Written with a point or an exponent it is another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(WholeVisitor)
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Whole, E> {
        Ok(Whole(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Whole, E> {
        Ok(Whole(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Whole, E> {
        // Integers beyond 64 bits arrive as floats; from 2^63 on every float is whole.
        const BEYOND: f64 = 9_223_372_036_854_775_808.0;
        if value >= BEYOND {
            Ok(Whole(i64::MAX))
        } else if value <= -BEYOND {
            Ok(Whole(i64::MIN))
        } else {
            Err(E::invalid_type(Unexpected::Float(value), &self))
        }
    }
}

#[derive(Debug)]
struct Error {
    code: Code,
    detail: String,
    /// From the fault upwards.
    steps: Vec<Step>,
}

impl Error {
    fn new(code: Code, detail: String) -> Self {
        Self { code, detail, steps: Vec::new() }
    }

    fn at(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Code::WrongType, message.to_string())
    }

    /// The value itself is not repeated: it can be a payment token, or long.
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let found = match unexpected {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
            Unexpected::Float(_) => "a number with a point or an exponent",
            Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => "a string",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "an array",
            Unexpected::Map => "an object",
            Unexpected::NewtypeStruct
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant
            | Unexpected::StructVariant
            | Unexpected::Other(_) => "something else",
        };
        Self::new(Code::WrongType, format!("is {found}, expected {expected}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let detail = format!("does not exist; the fields here are {}", expected.join(", "));
        Self::new(Code::UnknownField, detail).at(Step::Member(field.to_owned()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Code::MissingField, "is required".to_owned()).at(Step::Member(field.to_owned()))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(Code::DuplicateField, "is given twice".to_owned()).at(Step::Member(field.to_owned()))
    }
}

#[derive(Clone, Copy)]
struct Source<'n>(&'n Node<'n>);

impl<'de> Deserializer<'de> for Source<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Unsigned(value) => visitor.visit_u64(*value),
            Node::Signed(value) => visitor.visit_i64(*value),
            Node::Float(value) => visitor.visit_f64(*value),
            Node::Text(text) => visitor.visit_str(text),
            Node::List(entries) => visitor.visit_seq(Entries { rest: entries.iter(), index: 0 }),
            Node::Object(members) => visitor.visit_map(Members { rest: members.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Node::Null => visitor.visit_none(),
            Node::Bool(_) | Node::Unsigned(_) | Node::Signed(_) | Node::Float(_) | Node::Text(_) | Node::List(_) | Node::Object(_) => {
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// serde's derived structs also read arrays, field by field; a body's object is an object.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Node::List(_) => Err(Error::invalid_type(Unexpected::Seq, &"an object")),
            Node::Null | Node::Bool(_) | Node::Unsigned(_) | Node::Signed(_) | Node::Float(_) | Node::Text(_) | Node::Object(_) => {
                self.deserialize_any(visitor)
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

struct Entries<'n> {
    rest: std::slice::Iter<'n, Node<'n>>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Source(node)).map(Some).map_err(|error| error.at(Step::Entry(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Members<'n> {
    rest: std::slice::Iter<'n, (Cow<'n, str>, Node<'n>)>,
    value: Option<&'n (Cow<'n, str>, Node<'n>)>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.value = self.rest.next();
        let Some((name, _)) = self.value else { return Ok(None) };
        seed.deserialize(serde::de::value::StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let Some((name, node)) = self.value.take() else {
            return Err(Error::custom("value asked for before its name"));
        };
        seed.deserialize(Source(node)).map_err(|error| error.at(Step::Member(name.clone().into_owned())))
    }
}
