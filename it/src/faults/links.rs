//! The links of a stage: everything our processes reach goes through one of them.

use std::io;

use stack::{Service, Stack};

use crate::proxy::{Link, Listening};

/// One link for each pair that talks.
#[derive(Debug)]
pub struct Links {
    /// All services to the broker, with frames.
    pub kafka: Link,
    /// order-service to its database.
    pub orders_db: Link,
    /// inventory-service to its database.
    pub inventory_db: Link,
    /// payment-service to its database.
    pub payments_db: Link,
    /// payment-service to its provider's database.
    pub provider_db: Link,
    /// All services to the schema registry.
    pub registry: Link,
    /// The gateway to order-service.
    pub gateway_orders: Link,
    /// The gateway to inventory-service.
    pub gateway_inventory: Link,
}

/// The port of an address `…127.0.0.1:port…`.
fn port_of(url: &str) -> io::Result<u16> {
    let after = url.rsplit_once("127.0.0.1:").map(|(_, rest)| rest).unwrap_or_default();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().map_err(|_not_a_port| io::Error::new(io::ErrorKind::InvalidInput, format!("no port in {after}")))
}

/// `url` with the port of `link` instead of its own.
fn through(url: &str, link: &Link) -> String {
    url.replace(&format!("127.0.0.1:{}", link.target()), &format!("127.0.0.1:{}", link.port()))
}

impl Links {
    /// Links to everything that runs on `stack`, whose broker advertises `kafka`; tells the services to use them from
    /// their next start on.
    pub(super) async fn set(stack: &Stack, kafka: Listening) -> io::Result<Self> {
        let proxied = stack.kafka_proxied().ok_or_else(|| io::Error::other("the broker has no listener behind a proxy"))?;
        let postgres = port_of(&stack.database_url("orders"))?;
        let links = Self {
            kafka: kafka.forward(proxied, true),
            orders_db: Link::to("orders-db", postgres).await?,
            inventory_db: Link::to("inventory-db", postgres).await?,
            payments_db: Link::to("payments-db", postgres).await?,
            provider_db: Link::to("provider-db", postgres).await?,
            registry: Link::to("registry", port_of(&stack.registry_url())?).await?,
            gateway_orders: Link::to("gateway-orders", port_of(&stack.service_url(Service::Orders, 1))?).await?,
            gateway_inventory: Link::to("gateway-inventory", port_of(&stack.service_url(Service::Inventory, 1))?).await?,
        };
        for (service, link) in
            [(Service::Orders, &links.orders_db), (Service::Inventory, &links.inventory_db), (Service::Payments, &links.payments_db)]
        {
            stack.set_env(service, "DATABASE_URL", through(&stack.database_url(service.name()), link));
            stack.set_env(service, "SCHEMA_REGISTRY_URL", through(&stack.registry_url(), &links.registry));
        }
        stack.set_env(Service::Payments, "PROVIDER_DATABASE_URL", through(&stack.database_url("provider"), &links.provider_db));
        let urls = [
            ("ORDERS_URL", stack.service_url(Service::Orders, 1), &links.gateway_orders),
            ("INVENTORY_URL", stack.service_url(Service::Inventory, 1), &links.gateway_inventory),
        ];
        for (name, url, link) in urls {
            stack.set_env(Service::Gateway, name, through(&url, link));
        }
        Ok(links)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> [&Link; 8] {
        [
            &self.kafka,
            &self.orders_db,
            &self.inventory_db,
            &self.payments_db,
            &self.provider_db,
            &self.registry,
            &self.gateway_orders,
            &self.gateway_inventory,
        ]
    }
}
