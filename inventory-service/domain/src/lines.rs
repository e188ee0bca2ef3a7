use serde::{Deserialize, Serialize};
use values::{Quantity, Sku};

/// One line of an order as inventory sees it: so many units of one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The product.
    pub sku: Sku,
    /// Units of it.
    pub quantity: Quantity,
}

/// The lines of one hold: at least one, each SKU once, in the order they were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Line>", into = "Vec<Line>")]
pub struct Lines(Vec<Line>);

/// Why lines cannot be held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinesError {
    /// There is no line.
    #[error("a hold has no lines")]
    Empty,
    /// A product is on two lines.
    #[error("sku {0} is on two lines of a hold")]
    Repeated(Sku),
}

impl Lines {
    /// The lines in the order they were asked for.
    pub fn iter(&self) -> std::slice::Iter<'_, Line> {
        self.0.iter()
    }

    /// The lines as a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[Line] {
        &self.0
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
    type Error = LinesError;

    fn try_from(lines: Vec<Line>) -> Result<Self, Self::Error> {
        if lines.is_empty() {
            return Err(LinesError::Empty);
        }
        let mut skus: Vec<&Sku> = lines.iter().map(|line| &line.sku).collect();
        skus.sort_unstable();
        match skus.iter().zip(skus.iter().skip(1)).find(|(left, right)| left == right) {
            Some((sku, _)) => Err(LinesError::Repeated((*sku).clone())),
            None => Ok(Self(lines)),
        }
    }
}

impl From<Lines> for Vec<Line> {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Lines, LinesError};

    fn line(sku: &str) -> Line {
        Line { sku: sku.parse().unwrap(), quantity: 1_u32.try_into().unwrap() }
    }

    #[test]
    fn a_hold_has_lines_and_each_sku_once() {
        assert_eq!(Lines::try_from(vec![]), Err(LinesError::Empty));
        assert_eq!(Lines::try_from(vec![line("b"), line("a"), line("b")]), Err(LinesError::Repeated("b".parse().unwrap())));
        let lines = vec![line("b"), line("a")];
        assert_eq!(Vec::from(Lines::try_from(lines.clone()).unwrap()), lines);
    }
}
