//! What is taken away when this program ends before it could do so itself: by Ctrl-C, SIGTERM or even SIGKILL.
//!
//! A shell in a process group of its own reads from a pipe. When the pipe closes and nobody said that all is well, it
//! ends the commands that still run and takes the cluster down.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
groups=' '
while read -r word value; do
  case $word in
    started) groups="$groups$value " ;;
    ended) groups="${groups%% "$value" *} ${groups#* "$value" }" ;;
    done) exit 0 ;;
  esac
done
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
echo "interrupted: taking the cluster down" >&2
exec "$@"
"#;

/// Takes the cluster down if this program dies.
pub(crate) struct Guard {
    shell: Child,
    pipe: ChildStdin,
}

impl Guard {
    /// Sets the guard; `command` takes the cluster down.
    pub(crate) fn set(command: &[&str]) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "guard"])
            .args(command)
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .context("starting sh")?;
        let pipe = shell.stdin.take().context("a pipe")?;
        Ok(Self { shell, pipe })
    }

    /// Starts a command that has to end with this program.
    pub(crate) fn start(&mut self, command: &mut Command) -> Result<Child> {
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        writeln!(self.pipe, "started {}", child.id()).context("the guard is gone")?;
        Ok(child)
    }

    /// The command with this process ID of [`Guard::start`] has ended.
    pub(crate) fn ended(&mut self, id: u32) {
        let _ = writeln!(self.pipe, "ended {id}");
    }

    /// All is well: nothing is left to take away.
    pub(crate) fn lift(mut self) -> Result<()> {
        writeln!(self.pipe, "done").context("the guard is gone")?;
        drop(self.pipe);
        self.shell.wait().context("the guard does not end")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("trainyard-guard-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn what_runs_ends_and_the_cluster_goes_when_the_guard_is_not_lifted() {
        let mark = file("kept");
        let mut guard = Guard::set(&["touch", mark.to_str().unwrap()]).unwrap();
        let mut sleep = || guard.start(Command::new("sleep").arg("600")).unwrap();
        let (mut first, mut sleeper) = (sleep(), sleep());
        first.kill().unwrap();
        first.wait().unwrap();
        guard.ended(first.id());
        let Guard { mut shell, pipe } = guard;
        drop(pipe);
        assert!(shell.wait().unwrap().success());
        assert!(!sleeper.wait().unwrap().success(), "ended by a signal");
        assert!(mark.exists());
        std::fs::remove_file(mark).unwrap();
    }

    #[test]
    fn nothing_happens_when_the_guard_is_lifted() {
        let mark = file("lifted");
        Guard::set(&["touch", mark.to_str().unwrap()])
            .unwrap()
            .lift()
            .unwrap();
        assert!(!mark.exists());
    }
}
