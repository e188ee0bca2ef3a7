//! The lines of an order before it is priced.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use values::{Quantity, Sku};

/// So many units of one product.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Line {
    /// The product.
    pub sku: Sku,
    /// Units asked for.
    pub quantity: Quantity,
}

/// 1 to [`Lines::MAX`] lines, no SKU twice, in the customer's order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Line>", into = "Vec<Line>")]
pub struct Lines(Vec<Line>);

/// Why lines are no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinesFault {
    /// There is no line.
    #[error("an order has at least one line")]
    Empty,
    /// There are more than [`Lines::MAX`].
    #[error("an order has at most {} lines, not {count}", Lines::MAX)]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// One SKU stands in two lines; quantities are not added up, because the client may have meant either.
    #[error("line {line} repeats the sku of line {first}")]
    Twice {
        /// Position of the first line with the SKU, from 0.
        first: usize,
        /// Position of the second, from 0.
        line: usize,
    },
}

impl Lines {
    /// The largest number of lines.
    pub const MAX: usize = 200;

    /// Checks the rules of the list; each line's own rules are in its types.
    ///
    /// # Errors
    /// [`LinesFault`] names the first fault.
    pub fn new(lines: Vec<Line>) -> Result<Self, LinesFault> {
        if lines.is_empty() {
            return Err(LinesFault::Empty);
        }
        if lines.len() > Self::MAX {
            return Err(LinesFault::TooMany { count: lines.len() });
        }
        let mut seen = HashMap::with_capacity(lines.len());
        for (position, line) in lines.iter().enumerate() {
            if let Some(first) = seen.insert(&line.sku, position) {
                return Err(LinesFault::Twice { first, line: position });
            }
        }
        Ok(Self(lines))
    }

    /// The lines in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Line> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Lines {
    type Item = &'a Line;
    type IntoIter = std::slice::Iter<'a, Line>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl TryFrom<Vec<Line>> for Lines {
    type Error = LinesFault;

    fn try_from(lines: Vec<Line>) -> Result<Self, Self::Error> {
        Self::new(lines)
    }
}

impl From<Lines> for Vec<Line> {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}
