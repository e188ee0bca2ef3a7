//! `models`: writes the counterexamples into docs/decisions/0008-models.md.

fn main() -> std::io::Result<()> {
    models::page::renew()
}
