//! Subcommands for the pods of `v1` MPIJobs, in the place of kubectl: `deliver` copies the program into the launcher, and `exec` runs
//! commands in the workers from there.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use runtime::exec::{self, Exec};
use tokio::signal::unix::{SignalKind, signal};

/// Name of the program in the launcher.
const PROGRAM: &str = "kubectl";
/// Exit code if the command has none; the same as that of ssh.
const NO_EXIT_CODE: u8 = 255;
/// Exit code of a process that a signal ended, less the number of the signal.
const SIGNALLED: i32 = 128;

#[derive(Debug, Args)]
pub(crate) struct DeliverArgs {
    /// File to copy this program to; `kubectl` in the folder that `TARGET_DIR` names if absent.
    target: Option<PathBuf>,
    /// Folder, if no file is named.
    #[arg(long, env = "TARGET_DIR", default_value = "/opt/kube")]
    target_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Pod.
    pod: String,
    /// Namespace; this pod's own if absent.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Container; the pod's first if absent.
    #[arg(short, long)]
    container: Option<String>,
    /// Pass standard input on.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Seconds to wait for a pod that does not run yet.
    #[arg(long, env = "TRAINYARD_EXEC_TIMEOUT", default_value_t = 300)]
    wait: u64,
    /// Command.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Copies this program.
///
/// # Errors
/// If the folder cannot be written to.
pub(crate) fn deliver(args: DeliverArgs) -> Result<ExitCode> {
    let target = args.target.unwrap_or_else(|| args.target_dir.join(PROGRAM));
    copy(&std::env::current_exe().context("finding this program")?, &target)?;
    Ok(ExitCode::SUCCESS)
}

/// Copies the program completely or not at all: a launcher must not find half a program.
fn copy(program: &Path, target: &Path) -> Result<()> {
    let temporary = target.with_extension("partial");
    let copied = fs::copy(program, &temporary)
        .and_then(|_| fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&temporary, target));
    if copied.is_err() {
        // The file may not exist.
        let _ = fs::remove_file(&temporary);
    }
    copied.with_context(|| format!("copying {} to {}", program.display(), target.display()))
}

/// Runs a command in another pod.
///
/// # Errors
/// If there is no async runtime.
pub(crate) fn exec(args: ExecArgs) -> Result<ExitCode> {
    let exec = Exec {
        namespace: args.namespace,
        pod: args.pod,
        container: args.container.filter(|name| !name.is_empty()),
        command: args.command,
        stdin: args.stdin,
        wait: Duration::from_secs(args.wait),
    };
    let say = |text: &str| {
        // Standard error may be closed.
        let _ = writeln!(std::io::stderr(), "exec: {text}");
    };
    let threads = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = threads.block_on(async {
        tokio::select! {
            ended = exec::run(&exec, say) => ended,
            signal = stopped() => Ok(SIGNALLED.saturating_add(signal)),
        }
    });
    // Nothing ends the thread that reads standard input, and output may wait for a reader.
    threads.shutdown_background();
    Ok(match ended {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(NO_EXIT_CODE)),
        Err(error) => {
            say(&format!("pod {}: {error}", exec.pod));
            ExitCode::from(NO_EXIT_CODE)
        }
    })
}

/// Waits for a signal to end, and returns its number. Without a handler, the first process of a container ignores signals.
async fn stopped() -> i32 {
    let wait = async |kind: SignalKind| match signal(kind) {
        Ok(mut signal) => signal
            .recv()
            .await
            .map_or(kind.as_raw_value(), |()| kind.as_raw_value()),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        number = wait(SignalKind::terminate()) => number,
        number = wait(SignalKind::interrupt()) => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_delivered_whole_and_can_be_run() {
        let folder = std::env::temp_dir().join(format!("deliver-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (program, target) = (folder.join("program"), folder.join("kubectl"));
        fs::write(&program, "x").unwrap();
        fs::write(&target, "an older one").unwrap();
        copy(&program, &target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "x");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(
            copy(&program, &folder.join("no/where"))
                .unwrap_err()
                .to_string()
                .contains("no/where")
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
