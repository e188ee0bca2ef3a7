//! `cargo xtask lint`: everything that judges the tree without running it, the same here and in CI.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

use crate::{Report, check, schemas};

/// A tool that comes with the toolchain, or one that may be missing: then a line says how to get it.
struct Tool {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    install: Option<&'static str>,
}

const TOOLS: &[Tool] = &[
    Tool { name: "formatting", program: "cargo", arguments: &["fmt", "--all", "--check"], install: None },
    Tool {
        name: "clippy",
        program: "cargo",
        arguments: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        install: None,
    },
    // Not advisories: they need the network and change by themselves, so they are a job of their own (`cargo deny check advisories`).
    Tool {
        name: "licences, duplicates and sources of dependencies",
        program: "cargo-deny",
        arguments: &["check", "bans", "licenses", "sources"],
        install: Some("cargo install cargo-deny --locked"),
    },
    Tool { name: "spelling", program: "typos", arguments: &[], install: Some("cargo install typos-cli --locked") },
];

/// Runs every tool, then the generated types and `check`; goes on after a failure so that one run shows all.
///
/// # Errors
/// At least one of them found something.
pub fn run<W: Write>(root: &Path, report: &mut Report<W>) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for tool in TOOLS {
        match tool.install {
            Some(install) if !installed(tool.program) => {
                report.line(format_args!("skipped {}: {} is not installed, get it by `{install}`", tool.name, tool.program))?;
            }
            Some(_) | None => {
                report.line(format_args!("{} …", tool.name))?;
                let status = Command::new(tool.program).args(tool.arguments).current_dir(root).status();
                if !status.with_context(|| format!("run {}", tool.program))?.success() {
                    failed.push(tool.name);
                }
            }
        }
    }
    for (name, result) in [("generated types", schemas::check(root, report)), ("check", check::run(root, report))] {
        if let Err(error) = result {
            report.line(format_args!("{error:#}"))?;
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "lint: {} failed", failed.join(", "));
    report.line("lint: nothing to say")
}

fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
