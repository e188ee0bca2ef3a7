//! The process: `payment-service serve` (default) or `payment-service setup`.

fn main() -> kafka::anyhow_lite::Result<()> {
    kafka::main(payment_service::Payments, include_str!("../config.default.toml"))
}
