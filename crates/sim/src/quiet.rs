//! Checks of a stable cluster: a plan made from the store itself, not from what watches have shown, is empty; and nothing is
//! left of deleted jobs.

use common::gang::{Gang, PodGroupApi};
use common::{Framework, JobKey, Settings, Write, names};
use runtime::GangChoice;
use serde_json::Value;

use crate::checker::stored;
use crate::process::Conduct;
use crate::store::{Object, Store};
use crate::types::{EVENTS, NODES, Resource};
use crate::value::{controller_uid, label, name};

/// Writes that a plan would still make for the jobs in the store.
#[must_use]
pub fn left_to_do(store: &Store, conduct: &Conduct) -> Vec<String> {
    let settings = Settings {
        gang: gang(store, &conduct.gang),
        ..conduct.settings.clone()
    };
    let jobs = conduct.frameworks.iter().flat_map(|framework| {
        let info = framework.kind();
        let jobs = store.list(Resource::new(info.group, info.plural), "");
        jobs.map(move |(_, job)| (*framework, job))
    });
    jobs.flat_map(|(framework, job)| of_job(store, conduct, &settings, framework, job))
        .collect()
}

/// Gang scheduler that an operator detects.
fn gang(store: &Store, choice: &GangChoice) -> Gang {
    let served = |api: PodGroupApi| {
        store
            .type_of(Resource::new(api.group_version().0, "podgroups"))
            .is_some()
    };
    match choice {
        GangChoice::Auto if served(PodGroupApi::Native) => Gang::Native,
        GangChoice::Auto => Gang::None,
        GangChoice::Fixed(gang) => gang.clone(),
    }
}

fn of_job(
    store: &Store,
    conduct: &Conduct,
    settings: &Settings,
    framework: &'static dyn Framework,
    job: &Object,
) -> Vec<String> {
    let info = framework.kind();
    let key = JobKey {
        kind: info.kind,
        namespace: job["metadata"]["namespace"].as_str().unwrap_or_default().into(),
        name: name(job).into(),
    };
    // Selected as the watches do.
    let seen = |object: &Value, resource: Resource| {
        label(object, names::OPERATOR_NAME).is_some()
            || resource == NODES
            || conduct
                .frameworks
                .iter()
                .any(|f| f.kind().plural == resource.plural)
    };
    let objects = store.all().filter(|(key, object)| seen(object, key.resource));
    let objects = objects.map(|(key, object)| (key.resource.group, key.resource.plural, &**object));
    let observed = match runtime::observe_whole(store.now(), &conduct.frameworks, &key, objects) {
        Ok(Some(observed)) => observed,
        other => return vec![format!("{key} cannot be seen: {other:?}")],
    };
    let plan = common::plan(framework, &observed, settings);
    let mut found = Vec::new();
    let is = stored(job);
    for wanted in plan
        .intent
        .iter()
        .chain(&plan.status)
        .filter(|wanted| **wanted != is)
    {
        found.push(format!("{key}: its status is {is:?}, and ought to be {wanted:?}"));
    }
    // Ensured objects are not watched. A missing one is found before pods are created, and at later comparisons.
    let open = plan
        .writes
        .iter()
        .filter(|write| !matches!(write, Write::Ensure(_)));
    found.extend(open.map(|write| format!("{key}: left to do: {write:?}")));
    found
}

/// Objects whose owner is gone. There are none after the garbage collector has run.
#[must_use]
pub fn left_over(store: &Store) -> Vec<String> {
    let orphans = store.all().filter(|(key, object)| {
        let owner = controller_uid(object);
        key.resource != EVENTS && !owner.is_empty() && store.by_uid(owner).is_none()
    });
    orphans
        .map(|(key, _)| format!("{} {} is left over", key.resource.plural, key.name))
        .collect()
}
