use std::fmt;

/// One of our own programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// `order-service`
    Orders,
    /// `inventory-service`
    Inventory,
    /// `payment-service`
    Payments,
    /// `api-gateway`
    Gateway,
}

impl Service {
    /// All of them, in starting order.
    pub const ALL: [Self; 4] = [Self::Orders, Self::Inventory, Self::Payments, Self::Gateway];

    /// The name used for its database, its roles, its consumer group and its parts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Inventory => "inventory",
            Self::Payments => "payments",
            Self::Gateway => "gateway",
        }
    }

    /// The file name of its program.
    #[must_use]
    pub const fn binary(self) -> &'static str {
        match self {
            Self::Orders => "order-service",
            Self::Inventory => "inventory-service",
            Self::Payments => "payment-service",
            Self::Gateway => "api-gateway",
        }
    }

    /// Whether it owns a database and topics, so that `setup` must run before it serves.
    #[must_use]
    pub const fn has_database(self) -> bool {
        match self {
            Self::Orders | Self::Inventory | Self::Payments => true,
            Self::Gateway => false,
        }
    }

    /// The part that is instance `number` of this service, counted from 1.
    #[must_use]
    pub const fn instance(self, number: u32) -> Part {
        Part::Service(self, number)
    }
}

/// Something that is started, watched and stopped on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// PostgreSQL 18.
    Postgres,
    /// Kafka 4.3, one broker.
    Kafka,
    /// The Apicurio schema registry.
    Registry,
    /// The identity provider; only where a stack asks for it.
    Identity,
    /// Varnish, between HAProxy and what is the same for everybody; only with an edge.
    Cache,
    /// The program that tells the cache what changed; only with an edge.
    Purger,
    /// HAProxy in front of two gateways; only with an edge.
    Balancer,
    /// An instance of one of our programs, counted from 1.
    Service(Service, u32),
}

impl From<Service> for Part {
    fn from(service: Service) -> Self {
        service.instance(1)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres => formatter.write_str("postgres"),
            Self::Kafka => formatter.write_str("kafka"),
            Self::Registry => formatter.write_str("registry"),
            Self::Identity => formatter.write_str("identity"),
            Self::Cache => formatter.write_str("cache"),
            Self::Purger => formatter.write_str("purger"),
            Self::Balancer => formatter.write_str("balancer"),
            Self::Service(service, instance) => write!(formatter, "{}-{instance}", service.name()),
        }
    }
}
