use std::fmt;

/// What a token may allow. Each is a scope of the provider by this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Read one's own orders.
    OrdersRead,
    /// Place and cancel one's own orders.
    OrdersWrite,
    /// List products, receive stock.
    StockWrite,
    /// Look into the running system.
    OpsRead,
    /// Act on the running system.
    OpsWrite,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::OrdersRead, Self::OrdersWrite, Self::StockWrite, Self::OpsRead, Self::OpsWrite];

    /// Its name in the claim `scope`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrdersRead => "orders:read",
            Self::OrdersWrite => "orders:write",
            Self::StockWrite => "stock:write",
            Self::OpsRead => "ops:read",
            Self::OpsWrite => "ops:write",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::OrdersRead => 1,
            Self::OrdersWrite => 2,
            Self::StockWrite => 4,
            Self::OpsRead => 8,
            Self::OpsWrite => 16,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of scopes. Names that are none of ours are left out: they allow nothing here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// The scopes among these names.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let known = |name: &str| Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
        Self(names.into_iter().filter_map(known).fold(0, |set, scope| set | scope.bit()))
    }

    /// Whether `scope` is among them.
    #[must_use]
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | scope.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_themselves_and_unknown_ones_for_nothing() {
        for scope in Scope::ALL {
            let set = Scopes::of([scope.as_str()]);
            assert!(Scope::ALL.into_iter().all(|other| set.allow(other) == (other == scope)));
        }
        assert_eq!(Scopes::of(["openid", "orders:readx", "ORDERS:READ", ""]), Scopes::default());
        assert_eq!(Scopes::of("orders:read stock:write".split(' ')), [Scope::OrdersRead, Scope::StockWrite].into_iter().collect());
    }
}
