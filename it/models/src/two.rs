//! Two of something: owners, producers, partitions, members.

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Nth {
    /// The first.
    First,
    /// The second.
    Second,
}

impl Nth {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The one that is not this.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// A pair that is read by [`Nth`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Two<T> {
    first: T,
    second: T,
}

impl<T> Two<T> {
    /// Both.
    pub const fn new(first: T, second: T) -> Self {
        Self { first, second }
    }

    /// One of them.
    pub const fn get(&self, nth: Nth) -> &T {
        match nth {
            Nth::First => &self.first,
            Nth::Second => &self.second,
        }
    }

    /// One of them, to change it.
    pub const fn get_mut(&mut self, nth: Nth) -> &mut T {
        match nth {
            Nth::First => &mut self.first,
            Nth::Second => &mut self.second,
        }
    }

    /// Both, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.first, &self.second].into_iter()
    }
}
