//! The operator's image: one static program and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::archive::{self, Config, Spec};
use super::image::Image;
use super::layer::{self, Entry};
use super::store::{REVISION, cached};
use crate::cache;
use crate::progress::Progress;

const PROGRAM: &str = "trainyard-operator";
const STATIC: [&str; 2] = ["-C", "target-feature=+crt-static"];
/// A user of no meaning on any node.
const USER: &str = "65532:65532";

/// How the operator's program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As it ships: link-time optimisation, minutes to build.
    Release,
    /// For tests and the demo: quick to build, with debug assertions and overflow checks.
    Dev,
}

/// Builds the operator's program, static, and returns its path.
///
/// # Errors
/// When cargo is missing or fails, or the program is not static.
pub fn operator_program(profile: Profile, progress: Progress) -> Result<PathBuf> {
    let step = progress.step("building the operator");
    let path = compile(profile)?;
    step.done();
    Ok(path)
}

/// Makes the archive of the operator's image from its program, unless it is in the cache, and returns its path.
///
/// # Errors
/// When the program is not static, or the cache cannot be written.
pub fn operator_image(program: &Path) -> Result<PathBuf> {
    let image = Image::Operator;
    let folder = cache::folder()?.join("images");
    let path = program;
    let program = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if layer::is_dynamic(&program) {
        bail!("{} is not static, and the image holds no loader", path.display());
    }
    let config = Config::new(&[&format!("/{PROGRAM}")], &[]).user(USER);
    let described = config.text();
    let key = cache::key([
        ("revision", REVISION.as_bytes()),
        ("program", program.as_slice()),
        ("config", described.as_bytes()),
    ]);
    cached(image, &folder, &key, |archive| {
        let layer = layer::of_entries(&[
            Entry::Folder("tmp", 0o1777),
            Entry::File(PROGRAM, 0o755, &program),
        ])?;
        archive::write(
            archive,
            &Spec {
                reference: &image.reference(),
                config: &config,
                layers: &[layer],
            },
        )
    })
}

/// Release: for an explicit target, so that the flags do not reach build scripts and macros, which cannot be static.
/// Dev: only the program itself gets the flag. The crates that it is linked from are built as for tests.
fn compile(profile: Profile) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let common = [
        "--package",
        "operator",
        "--message-format=json-render-diagnostics",
    ];
    match profile {
        Profile::Release => {
            let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
            command
                .args(["build", "--release", "--target", &target])
                .args(common);
            command
                .env("RUSTFLAGS", STATIC.join(" "))
                .env_remove("CARGO_ENCODED_RUSTFLAGS");
        }
        Profile::Dev => {
            command.args(["rustc", "--bin", PROGRAM]).args(common);
            command.arg("--").args(STATIC);
        }
    }
    let output = command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo failed ({})", output.status);
    }
    executable(&String::from_utf8_lossy(&output.stdout)).context("cargo did not say where the program is")
}

fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let named = message.pointer("/target/name")? == PROGRAM;
        let path = message.get("executable")?.as_str()?;
        named.then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_among_cargos_messages() {
        let messages = "{\"reason\":\"build-script-executed\"}\n\
             {\"target\":{\"name\":\"other\"},\"executable\":\"/t/other\"}\n\
             {\"target\":{\"name\":\"trainyard-operator\"},\"executable\":\"/t/x\"}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/x")));
    }
}
