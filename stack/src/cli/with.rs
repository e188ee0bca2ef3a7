use std::process::{ExitCode, Stdio};

use anyhow::Context;
use clap::Args;
use stack::{Provider, Stack};

use super::sample;

#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Do not create the sample products and the sample order first.
    #[arg(long)]
    no_sample: bool,
    /// With the mock identity provider, as in production: only bearers of its tokens are let in.
    #[arg(long)]
    secure: bool,
    /// With the mock identity provider, as `./run`: its tokens are taken, and the header is too.
    #[arg(long)]
    identity: bool,
    /// With HAProxy and Varnish in front of two gateways.
    #[arg(long)]
    edge: bool,
    /// The program to run and its arguments.
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

/// Starts everything on free ports in a temporary folder, runs a program with the addresses in its environment, and ends with its code.
pub(super) async fn with(options: Options) -> anyhow::Result<ExitCode> {
    let (program, arguments) = options.command.split_first().context("no program to run")?;
    let builder = Stack::builder().traces();
    let builder = if options.secure || options.identity { builder.identity(Provider::Mock) } else { builder };
    let builder = if options.secure { builder.secured() } else { builder };
    let builder = if options.edge { builder.edge() } else { builder };
    let stack = builder.start().await?;
    if !options.no_sample {
        sample::show(&stack).await.context("show the sample order")?;
    }
    let mut child = tokio::process::Command::new(program);
    // a test may break what only an owner can
    let owners = ["orders", "inventory", "payments"].map(|name| (format!("{}_OWNER_URL", name.to_uppercase()), stack.owner_url(name)));
    child.args(arguments).envs(stack.env()).envs(owners).stdin(Stdio::null()).kill_on_drop(true);
    let status = child.spawn().with_context(|| format!("start {program}"))?.wait().await.with_context(|| format!("wait for {program}"))?;
    drop(stack);
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
