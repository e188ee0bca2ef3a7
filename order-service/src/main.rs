//! `order-service serve` (the default) or `order-service setup`.

fn main() -> anyhow::Result<()> {
    let service = order_service::Orders::new()?;
    kafka::main(service, order_service::DEFAULTS).map_err(anyhow::Error::from_boxed)
}
