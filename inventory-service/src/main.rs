//! The process: `inventory-service serve` (default) or `inventory-service setup`.

fn main() -> kafka::anyhow_lite::Result<()> {
    kafka::main(inventory_service::Inventory, include_str!("../config.default.toml"))
}
