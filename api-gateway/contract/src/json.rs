//! Bytes to a tree, strictly: depth, members and values are bounded, no member twice, and whatever fails has a pointer.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{
    Code, Fault,
    pointer::{Step, from_fault_up},
};

/// Deepest nesting of arrays and objects.
const DEPTH_MAX: usize = 16;
/// Most members of one object.
const MEMBERS_MAX: usize = 32;
/// Most entries of one array that are kept; the rest is checked for syntax and dropped. Above every limit of a list, so a
/// list that is too long is still seen as too long.
const ENTRIES_MAX: usize = 2_000;
/// Most values of one body: bounds memory, because two bytes of text can be one value.
const VALUES_MAX: usize = 50_000;

/// A JSON value; text is borrowed from the body where it has no escapes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// Members in the order of the body, each name once.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Reads `body` whole.
///
/// # Errors
/// The fault that stopped the reading: `malformed_json` or `duplicate_field`, with its place.
pub(crate) fn read(body: &[u8]) -> Result<Node<'_>, Fault> {
    if body.is_empty() {
        return Err(Fault::new(from_fault_up(&[]), Code::MalformedJson, "the body is empty"));
    }
    let context = Context::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let node = Reader { context: &context, depth: 0 }.deserialize(&mut deserializer);
    node.and_then(|node| deserializer.end().map(|()| node)).map_err(|error| context.fault(&error))
}

/// What the readers of one body share.
#[derive(Debug, Default)]
struct Context {
    /// From the fault upwards; filled only while unwinding, so a good body pays nothing for it.
    steps: RefCell<Vec<Step>>,
    refusal: RefCell<Option<(Code, String)>>,
    values: Cell<usize>,
}

impl Context {
    fn failed_at(&self, step: Step) {
        self.steps.borrow_mut().push(step);
    }

    fn refuse<E: serde::de::Error>(&self, code: Code, detail: String) -> E {
        *self.refusal.borrow_mut() = Some((code, detail));
        E::custom("refused")
    }

    fn fault(&self, error: &serde_json::Error) -> Fault {
        let pointer = from_fault_up(&self.steps.borrow());
        match self.refusal.borrow_mut().take() {
            Some((code, detail)) => Fault::new(pointer, code, detail),
            // serde_json's text for a syntax error is a fixed phrase with line and column: nothing of the body in it.
            None => Fault::new(pointer, Code::MalformedJson, error.to_string()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Reader<'c> {
    context: &'c Context,
    depth: usize,
}

impl Reader<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            return Err(self.context.refuse(Code::MalformedJson, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let values = self.context.values.get() + 1;
        if values > VALUES_MAX {
            return Err(self.context.refuse(Code::MalformedJson, format!("more than {VALUES_MAX} values")));
        }
        self.context.values.set(values);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Node::Signed(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Node::Float(value))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut entries = Vec::new();
        while entries.len() < ENTRIES_MAX {
            match access.next_element_seed(inner) {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => return Ok(Node::List(entries)),
                Err(error) => {
                    self.context.failed_at(Step::Entry(entries.len()));
                    return Err(error);
                }
            }
        }
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut members: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        while let Some(Name(name)) = access.next_key()? {
            if members.len() == MEMBERS_MAX {
                return Err(self.context.refuse(Code::MalformedJson, format!("more than {MEMBERS_MAX} members")));
            }
            if members.iter().any(|(other, _)| *other == name) {
                self.context.failed_at(Step::Member(name.into_owned()));
                return Err(self.context.refuse(Code::DuplicateField, "is given twice".to_owned()));
            }
            match access.next_value_seed(inner) {
                Ok(value) => members.push((name, value)),
                Err(error) => {
                    self.context.failed_at(Step::Member(name.into_owned()));
                    return Err(error);
                }
            }
        }
        Ok(Node::Object(members))
    }
}

/// A member's name, borrowed where it can be (`Cow`'s own implementation always copies).
struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(value)))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(value.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}
