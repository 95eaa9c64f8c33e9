//! Names of jobs at the limit of what the names of their pods and Services allow, for every meaning of every kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and read better without ceremony"
)]

use common::names::MAX_LABEL;
use common::plan::Write;
use common::testing::{World, meanings, whole};
use common::{Framework, status};
use serde_json::json;

/// Names of all pods, Services and batch Jobs that are made of a job of this name, or what is wrong with it.
fn children(framework: &'static dyn Framework, name: &str, replicas: u32) -> Result<Vec<String>, String> {
    let mut manifest = whole(framework, replicas);
    manifest["metadata"]["name"] = json!(name);
    let mut world = World::new(framework, &manifest);
    let mut names = Vec::new();
    // A launcher may wait for its workers.
    for _ in 0..2 {
        for plan in world.settle(framework) {
            names.extend(plan.writes.iter().filter_map(|write| match write {
                Write::CreatePod { pod, .. } => pod.metadata.name.clone(),
                Write::CreateChild(child) => Some(child.name().to_owned()),
                Write::CreateBatchJob { job, .. } => job.metadata.name.clone(),
                _ => None,
            }));
        }
        world.run_all();
    }
    let stored = world.status();
    if status::is_true(&stored, common::api::ConditionType::Failed) || names.is_empty() {
        let messages: Vec<&str> = stored.conditions.iter().map(|c| c.message.as_str()).collect();
        return Err(messages.join(" "));
    }
    Ok(names)
}

/// Whether it is a label as names of Services must be.
fn is_label(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= MAX_LABEL
        && name.chars().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// Pods or Services were refused after the job had been accepted (trainer#1101, trainer#1745, jobset#1267, kueue#13636).
#[test]
fn a_job_is_accepted_whose_pods_and_services_cannot_be_named() {
    for framework in meanings(operator::FRAMEWORKS) {
        let kind = framework.kind().kind;
        for replicas in [10, 100] {
            let mut longest = 29;
            for length in 30..=MAX_LABEL + 1 {
                let found = children(framework, &"a".repeat(length), replicas);
                match found {
                    Ok(names) => {
                        assert_eq!(
                            longest,
                            length - 1,
                            "{kind}: {length} after a shorter one was refused"
                        );
                        let bad: Vec<&String> = names.iter().filter(|name| !is_label(name)).collect();
                        assert!(bad.is_empty(), "{kind} {length}: {bad:?}");
                        longest = length;
                    }
                    Err(message) => {
                        assert!(message.contains("metadata.name"), "{kind} {length}: {message}");
                    }
                }
            }
            // No shorter than it need be: only the longest child counts.
            assert!((45..MAX_LABEL).contains(&longest), "{kind}: {longest}");
            let names = children(framework, &"a".repeat(longest), replicas).unwrap();
            let most = names.iter().map(String::len).max();
            assert_eq!(most, Some(MAX_LABEL), "{kind}: {names:?}");
        }
        for bad in ["1abc", "a.b", "-a", "A"] {
            let message = children(framework, bad, 2).unwrap_err();
            assert!(message.contains("metadata.name"), "{kind} {bad}: {message}");
        }
    }
}
