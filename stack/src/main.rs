//! `stack`: what `./run` calls.

mod cli;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    // RUST_LOG is for the services, which inherit it; here the notices of a start are enough
    let notices = tracing_subscriber::fmt().with_env_filter("info,sqlx=warn,librdkafka=off,rdkafka=off").with_target(false).without_time();
    notices.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).init();
    match cli::run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            // the one place where the whole chain is printed; a terminal that is gone is no reason to fail differently
            let _unwritable = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
