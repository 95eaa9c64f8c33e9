//! Processes that outlive the command that started them.
//!
//! Invariant: a process is known by its id and its start time, so that a reused id is never signalled.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::node::Node;

/// A process that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The node that it belongs to. Records of earlier versions lack it; their processes must end all the same.
    #[serde(default)]
    node: String,
    /// The component's name, also that of its log file.
    pub(crate) name: String,
    pid: u32,
    /// Clock ticks between the machine's start and the process's.
    started: u64,
}

impl Process {
    /// Starts a command of a node in its own session, its output in `<logs>/<name>.log`.
    pub(crate) fn spawn(node: &Node, name: &str, command: &mut Command, logs: &Path) -> Result<Self> {
        fs::create_dir_all(logs)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(logs.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let process = Self::of(name, child.id())
            .with_context(|| format!("{name} ended at once; see its log in {}", logs.display()))?;
        Ok(Self {
            node: node.name().to_owned(),
            ..process
        })
    }

    /// The process that has this id now.
    pub(crate) fn of(name: &str, pid: u32) -> Option<Self> {
        stat(pid).map(|stat| Self {
            node: String::new(),
            name: name.to_owned(),
            pid,
            started: stat.started,
        })
    }

    pub(crate) fn is_of(&self, node: &Node) -> bool {
        self.node == node.name()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs (a zombie does not).
    pub(crate) fn alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !stat.ended)
    }

    /// Sends SIGKILL: nothing in this cluster is worth a graceful end.
    pub(crate) fn kill(&self) {
        if self.alive() {
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

/// Waits until none of the processes runs.
pub(crate) fn wait_ended(processes: &[Process], within: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left: Vec<_> = processes.iter().filter(|process| process.alive()).collect();
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > within {
            let names: Vec<_> = left
                .iter()
                .map(|process| format!("{} ({})", process.name, process.pid))
                .collect();
            bail!("still running after SIGKILL: {}", names.join(", "));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The ids of all processes of the machine.
pub(crate) fn ids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Identifies this run of the machine: process ids of another mean nothing.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

struct Stat {
    started: u64,
    ended: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields after the name, which may itself hold blanks and parentheses.
fn parse_stat(line: &str) -> Option<Stat> {
    let mut fields = line.get(line.rfind(')')? + 1..)?.split_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    Some(Stat {
        started: fields.nth(18)?.parse().ok()?,
        ended,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_line_with_a_hostile_name() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.started, stat.ended), (777, false));
        assert!(parse_stat(&line.replace(" S ", " Z ")).unwrap().ended);
    }

    #[test]
    fn own_process_is_alive_and_a_reused_id_is_not() {
        let own = Process::of("own", std::process::id()).unwrap();
        assert!(own.alive());
        assert!(
            !Process {
                started: own.started + 1,
                ..own
            }
            .alive()
        );
    }
}
