//! `cargo xtask codegen`: the files under `deploy/` that the operator's own code says.
//!
//! The work is done by a test of the operator's crate, which compares them in every test run: with a variable set it
//! writes them instead. So there is no second program that could say something else.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Arguments.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a file is stale.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "test",
        "--quiet",
        "--package",
        "operator",
        "--test",
        "tests",
        "generated::",
    ]);
    command.env_remove("TRAINYARD_WRITE");
    if !args.check {
        command.env("TRAINYARD_WRITE", "1");
    }
    let status = command.status().context("starting cargo")?;
    ensure!(
        status.success(),
        "generated files are stale, or could not be made: see above"
    );
    Ok(())
}
