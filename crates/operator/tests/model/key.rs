//! What makes two states the same: all that the future depends on, with UIDs and versions numbered by first appearance.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use common::plan::Plan;
use common::{RawJob, Write};
use serde_json::Value;

use super::state::{Flight, State};

/// 128 bits of the state: two of a million different states are alike with a probability of one in 10^26.
pub(crate) fn key(state: &State) -> (u64, u64) {
    let text = canonical(&text(state));
    let half = |salt: u8| {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        (salt, &text).hash(&mut hasher);
        hasher.finish()
    };
    (half(0), half(1))
}

fn text(state: &State) -> String {
    let mut text = String::with_capacity(8192);
    let world = &state.world;
    write!(text, "{} {} {:?} ", world.now, state.faults, state.behind).unwrap();
    job(&mut text, world.job.as_ref());
    write!(
        text,
        "{:?}|{:?}|{:?}|{:?}|",
        world.pods, world.batch_pods, world.batch_jobs, world.children
    )
    .unwrap();
    let view = &state.view;
    job(&mut text, view.job.as_deref());
    write!(
        text,
        "{:?}|{:?}|{:?}|",
        view.pods, view.batch_pods, view.batch_jobs
    )
    .unwrap();
    write!(
        text,
        "{:?}|{:?}|{:?}|",
        state.vanished, state.refusals, state.made
    )
    .unwrap();
    let known = view
        .pods
        .iter()
        .map(|pod| &pod.uid)
        .chain(view.batch_jobs.iter().map(|job| &job.uid));
    let deletes: Vec<_> = known.filter(|uid| state.own_deletes.contains(*uid)).collect();
    write!(text, "{deletes:?}|").unwrap();
    for ((kind, name), extra) in &world.extras {
        write!(text, "{kind} {name} {}", digest(extra)).unwrap();
    }
    if let Some(flight) = &state.flight {
        in_flight(&mut text, flight);
    }
    text
}

/// Of the spec, what users change here.
fn job(text: &mut String, job: Option<&RawJob>) {
    let Some(job) = job else { return };
    let suspend = &job.spec["runPolicy"]["suspend"];
    let version = &job.resource_version;
    write!(text, "resource_version: \"{version}\" {} {suspend} ", job.status).unwrap();
    let fields = job.spec.as_object().unwrap().values();
    for role in fields
        .filter_map(Value::as_object)
        .flat_map(|roles| roles.values())
    {
        write!(text, "{} ", role["replicas"]).unwrap();
    }
}

fn digest(extra: &common::objects::Extra) -> u64 {
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    format!("{extra:?}").hash(&mut hasher);
    hasher.finish()
}

fn in_flight(text: &mut String, flight: &Flight) {
    let Plan {
        intent,
        writes,
        status,
        keeps_vanished,
        ..
    } = &*flight.plan;
    let left = &flight.requests[flight.next..];
    write!(
        text,
        "{left:?} resource_version: \"{}\" {:?} {:?} {keeps_vanished} {intent:?} {status:?}",
        flight.version,
        flight.shown,
        (flight.tells, &flight.refused)
    )
    .unwrap();
    // The object itself follows from the job and the attempt.
    for write in writes {
        match write {
            Write::CreatePod { pod, attempt, .. } => write!(text, "pod {:?} {attempt:?}", pod.metadata.name),
            Write::CreateBatchJob { job, attempt, .. } => {
                write!(text, "job {:?} {attempt:?}", job.metadata.name)
            }
            Write::Ensure(extra) => write!(text, "{:?}", extra.id()),
            Write::CreateChild(child) => write!(text, "{:?} {}", child.kind(), child.name()),
            other => write!(text, "{other:?}"),
        }
        .unwrap();
    }
}

/// Numbers after `uid-`, `pod-`, `-x` and of resourceVersions, which only tell one thing from another, become ordinals.
fn canonical(text: &str) -> String {
    const BEFORE: [&str; 4] = ["uid-", "pod-", "-x", "resource_version: \""];
    let mut ordinals: HashMap<&str, usize> = HashMap::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        if BEFORE.iter().any(|prefix| out.ends_with(prefix)) {
            let next = ordinals.len();
            let ordinal = ordinals.entry(digits).or_insert(next);
            write!(out, "{ordinal}").unwrap();
        } else {
            out.push_str(digits);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
