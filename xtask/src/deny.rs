//! `cargo xtask deny`: licences, unwanted crates and sources of all dependencies, by cargo-deny and deny.toml.
//!
//! Advisories are left out: see deny.toml.

use std::path::PathBuf;

use anyhow::Result;

use crate::stage::{cargo, must};

/// What is installed when it is missing; a change of it is a change of the cache's folder.
const VERSION: &str = "0.20.2";

/// Arguments.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_args: Args) -> Result<()> {
    let mut deny = std::process::Command::new(tool()?);
    deny.args(["--color", "never", "--locked", "check", "--hide-inclusion-graph"]);
    deny.args(["licenses", "bans", "sources"]);
    deny.current_dir(crate::stage::root());
    must(deny)
}

/// The program, built when it is not in the cache. cargo puts it there as its last step, and lets no two of its kind do so
/// at a time.
fn tool() -> Result<PathBuf> {
    let folder = cluster::cache_folder()?.join(format!("tools/cargo-deny-{VERSION}"));
    let program = folder.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    eprintln!("building cargo-deny {VERSION}, once");
    let mut install = cargo(
        "install",
        &[
            "--locked",
            "--quiet",
            "cargo-deny",
            "--version",
            VERSION,
            "--root",
        ],
    );
    install
        .arg(&folder)
        // It runs for a second: optimising it takes longer than it can save.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        // A folder of its own, which cargo removes.
        .env_remove("CARGO_TARGET_DIR");
    must(install)?;
    Ok(program)
}
