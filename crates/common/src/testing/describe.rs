//! Plans and statuses in words, for snapshots that people read.

use std::fmt::Write as _;

use super::World;
use crate::api::{FirstFailure, JobStatus};
use crate::objects::{Child, ChildKind};
use crate::plan::{Plan, Write};

/// A plan in words, one line per request, for snapshots that people read.
#[must_use]
pub fn describe_plan(plan: &Plan) -> String {
    let mut text = String::new();
    if plan.intent.is_some() {
        text += "store intent\n";
    }
    for write in &plan.writes {
        let _ = match write {
            Write::CreateChild(Child::PodGroup(group)) => {
                writeln!(
                    text,
                    "create podgroup {}: {}",
                    group.metadata.name.as_deref().unwrap_or("?"),
                    group.spec
                )
            }
            Write::CreateChild(child) => writeln!(text, "create {} {}", word(child.kind()), child.name()),
            Write::ChangeChild {
                to: Child::PodGroup(group),
                ..
            } => {
                let name = group.metadata.name.as_deref().unwrap_or("?");
                writeln!(text, "patch podgroup {name}: {}", group.spec)
            }
            Write::ChangeChild { to, .. } => writeln!(text, "change {} {}", word(to.kind()), to.name()),
            Write::DeleteChild { kind, name, .. } => writeln!(text, "delete {} {name}", word(*kind)),
            Write::DeletePod {
                name, force: false, ..
            } => writeln!(text, "delete pod {name}"),
            Write::DeletePod {
                name, force: true, ..
            } => writeln!(text, "delete pod {name} by force"),
            Write::CreatePod { attempt, pod, .. } => {
                writeln!(
                    text,
                    "create pod {} attempt {}",
                    pod.metadata.name.as_deref().unwrap_or("?"),
                    attempt.0
                )
            }
            Write::DeleteJob { .. } => writeln!(text, "delete job"),
            Write::Ensure(extra) => {
                let (kind, name) = extra.id();
                writeln!(text, "ensure {kind} {name}")
            }
            Write::CreateBatchJob { attempt, job, .. } => writeln!(
                text,
                "create batch job {} attempt {}",
                job.metadata.name.as_deref().unwrap_or("?"),
                attempt.0
            ),
            Write::DeleteBatchJob { name, .. } => writeln!(text, "delete batch job {name}"),
        };
    }
    for event in &plan.events {
        let _ = writeln!(text, "event {:?} {}: {}", event.kind, event.reason, event.message);
    }
    if let Some(at) = plan.requeue_at {
        let _ = writeln!(text, "wake at {at}");
    }
    text
}

/// A first failure in words, on one line.
fn describe_failure(first: &FirstFailure) -> String {
    let mut text = format!("failed first: {} attempt {}", first.pod, first.attempt);
    let number = |n: Option<i32>| n.map(|n| n.to_string());
    for (what, value) in [
        ("container", first.container.clone()),
        ("code", number(first.exit_code)),
        ("signal", number(first.signal)),
        ("reason", first.reason.clone()),
        ("on", first.node.clone()),
        (
            "message",
            first.message.as_ref().map(|message| format!("{message:?}")),
        ),
    ] {
        if let Some(value) = value {
            let _ = write!(text, " {what} {value}");
        }
    }
    if first.follower_count > 0 {
        let _ = write!(
            text,
            "; then {}: {}",
            first.follower_count,
            first.followers.join(", ")
        );
    }
    text + "\n"
}

fn word(kind: ChildKind) -> String {
    kind.as_str().to_ascii_lowercase()
}

/// A status in words: conditions in order, counts, attempts.
#[must_use]
pub fn describe_status(status: &JobStatus) -> String {
    let mut text = String::new();
    for c in &status.conditions {
        let (reason, message) = (
            c.reason.as_deref().unwrap_or(""),
            c.message.as_deref().unwrap_or(""),
        );
        let _ = writeln!(text, "{}={:?} {reason}: {message}", c.type_.as_str(), c.status);
    }
    for (role, counts) in &status.replica_statuses {
        let done = counts
            .succeeded_indices
            .as_deref()
            .map(|d| format!(" done={d}"))
            .unwrap_or_default();
        let (active, succeeded, failed) = (counts.active, counts.succeeded, counts.failed);
        let _ = writeln!(
            text,
            "{role}: active={active} succeeded={succeeded} failed={failed}{done}"
        );
    }
    for (replica, s) in &status.slots {
        let _ = writeln!(
            text,
            "{replica}: attempt {} because {}",
            s.attempt,
            s.reason.as_deref().unwrap_or("")
        );
    }
    if let Some(counts) = &status.restart_counts {
        let (failures, in_place, disruptions) = (counts.failures, counts.in_place, counts.disruptions);
        let _ = writeln!(
            text,
            "restarts: failures={failures} inPlace={in_place} disruptions={disruptions}"
        );
    }
    if let Some(whole) = &status.whole_restarts {
        let reason = whole.reason.as_deref().unwrap_or("");
        let _ = writeln!(text, "all restarted: {} because {reason}", whole.count);
    }
    if let Some(gang) = &status.gang {
        let (times, since) = (gang.given_back, gang.incomplete_since.is_some());
        let _ = writeln!(text, "gang: incomplete={since}, given back {times} times");
    }
    text += &status
        .first_failure
        .as_ref()
        .map(describe_failure)
        .unwrap_or_default();
    if let Some(waiting) = &status.waiting_for {
        let _ = writeln!(text, "waits for: {waiting}");
    }
    let (start, end) = (status.start_time.is_some(), status.completion_time.is_some());
    let _ = writeln!(text, "started={start} completed={end}");
    text
}

impl World {
    /// The pods of the job as `name(attempt) state`, sorted.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut pods: Vec<String> = self
            .pods
            .iter()
            .map(|p| {
                let terminating = if p.deleting { " terminating" } else { "" };
                format!("{}({}) {:?}{terminating}", p.name, p.attempt.0, p.phase)
            })
            .collect();
        let terminating = |deleting| if deleting { " terminating" } else { "" };
        pods.extend(self.batch_jobs.iter().map(|j| {
            let end = j
                .end
                .as_ref()
                .map(|end| if end.succeeded { " complete" } else { " failed" });
            format!(
                "job {}({}){}{}",
                j.name,
                j.attempt.0,
                end.unwrap_or_default(),
                terminating(j.deleting)
            )
        }));
        pods.sort();
        pods.join(", ")
    }
}
