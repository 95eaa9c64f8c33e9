//! `trainyard-operator`: see `trainyard-operator help`.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    operator::cli::main()
}
