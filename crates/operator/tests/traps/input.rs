//! What users write.

use common::api::ConditionType;
use common::kind::PortInfo;
use common::objects::Child;
use common::observe::PodView;
use common::plan::{Plan, Write};
use common::settings::ServiceMode;
use common::testing::{World, whole};
use common::{Framework, names, resolve};
use serde_json::{Value, json};

use super::kit::{
    active, bring_up, come_back, end, events, for_every_kind, is, job, last, message, policy, replacing,
    running, spec,
};

/// Keys in lower case were refused, though they have a meaning.
#[test]
fn replica_types_are_known_in_any_case() {
    for_every_kind(|framework| {
        let map = framework.kind().replicas_field;
        let usual = running(framework, 2, |_| {});
        let lower = running(framework, 2, |spec| {
            let roles = spec[map].as_object().unwrap();
            let roles: serde_json::Map<String, Value> = roles
                .iter()
                .map(|(role, replica)| (role.to_lowercase(), replica.clone()))
                .collect();
            spec[map] = roles.into();
        });
        assert_eq!(lower.describe(), usual.describe());
        assert_eq!(lower.status(), usual.status());
    });
}

fn named(framework: &'static dyn Framework, length: usize) -> World {
    let mut manifest = whole(framework, 12);
    manifest["metadata"]["name"] = json!("a".repeat(length));
    World::new(framework, &manifest)
}

fn made(plans: &[Plan]) -> Vec<String> {
    let writes = plans.iter().flat_map(|plan| &plan.writes);
    let name = |write: &Write| match write {
        Write::CreatePod { pod, .. } => pod.metadata.name.clone(),
        Write::CreateBatchJob { job, .. } => job.metadata.name.clone(),
        Write::CreateChild(child) => Some(child.name().to_owned()),
        _ => None,
    };
    writes.filter_map(name).collect()
}

/// trainer#1101, #1745: the pods of a long name can be made, their Services cannot, and the job waits without a word.
#[test]
fn all_names_of_a_job_whose_name_just_fits_fit_and_a_longer_one_is_told_of() {
    for_every_kind(|framework| {
        let fits = |length: &usize| {
            resolve::resolve(framework, named(framework, *length).job.as_ref().unwrap()).is_ok()
        };
        let longest = (1..=names::MAX_LABEL).filter(fits).max().unwrap();
        for mode in [ServiceMode::Job, ServiceMode::PerReplica] {
            let mut world = named(framework, longest);
            world.settings.service_mode = mode;
            let made = made(&world.settle(framework));
            let most = made.iter().map(String::len).max().unwrap();
            assert_eq!(most, names::MAX_LABEL, "{made:?}");
        }
        let mut world = named(framework, longest + 1);
        world.settle(framework);
        assert!(world.created.is_empty());
        let told = message(&world, ConditionType::Failed);
        assert!(
            told.contains("metadata.name: ") && told.contains(&longest.to_string()),
            "{told}"
        );
    });
}

/// A Service may not have one port without a name beside another, nor two of a name.
#[test]
fn ports_of_services_have_names_and_each_its_own() {
    for_every_kind(|framework| {
        let Some(PortInfo { name: known, .. }) = framework.kind().port else {
            return;
        };
        let map = framework.kind().replicas_field;
        let world = job(framework, 2, |spec| {
            for (n, replica) in (1_u16..).zip(spec[map].as_object_mut().unwrap().values_mut()) {
                let ports = json!([{"containerPort": 8080}, {"name": "metrics", "containerPort": 9100 + n}]);
                replica["template"]["spec"]["containers"][0]["ports"] = ports;
            }
        });
        let plan = world.plan(framework);
        let services = plan.writes.iter().filter_map(|write| match write {
            Write::CreateChild(Child::Service(service)) => Some(service),
            _ => None,
        });
        for service in services {
            let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
            let mut names: Vec<&str> = ports.iter().map(|port| port.name.as_deref().unwrap()).collect();
            let mut numbers: Vec<i32> = ports.iter().map(|port| port.port).collect();
            assert!(
                names.contains(&"port-8080") && names.contains(&known),
                "{names:?}"
            );
            names.sort_unstable();
            names.dedup();
            numbers.sort_unstable();
            numbers.dedup();
            assert!(
                names.len() == ports.len() && numbers.len() == ports.len(),
                "{ports:?}"
            );
        }
    });
}

/// A job that is on its way out was checked all the same, and told to be wrong.
#[test]
fn a_job_that_is_being_deleted_is_left_alone_whatever_it_looks_like() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |_| {});
        world.job.as_mut().unwrap().deleting = true;
        assert_eq!(world.plan(framework), Plan::default());
        let pod = last(&world);
        end(framework, &mut world, &pod, 137);
        *spec(&mut world) = json!({});
        assert_eq!(world.plan(framework), Plan::default());
    });
}

/// Jobs that are not valid were tried again for ever, without a condition.
#[test]
fn a_mistake_is_told_once_in_a_condition_and_an_event() {
    for_every_kind(|framework| {
        let map = framework.kind().replicas_field;
        let mistakes: [fn(&mut Value, &str); 3] = [
            |spec, map| spec[map] = json!(null),
            |spec, map| spec[map]["Sorcerer"] = json!({}),
            |spec, _| spec["runPolicy"]["cleanPodPolicy"] = json!("Sometimes"),
        ];
        for mistake in mistakes {
            let mut world = job(framework, 2, |spec| mistake(spec, map));
            let plans = world.settle(framework);
            let told = events(&plans);
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(told[0].message, message(&world, ConditionType::Failed));
            assert!(told[0].message.contains(" is not valid: spec."), "{told:?}");
            world.is_stable(framework);
        }
    });
}

/// trainer#2200: it is overwritten, and each pod that is made says so again.
#[test]
fn that_the_templates_restart_policy_does_not_count_is_said_once() {
    for_every_kind(|framework| {
        let map = framework.kind().replicas_field;
        let mut world = job(framework, 2, |spec| {
            policy(framework, spec, replacing(framework));
            for replica in spec[map].as_object_mut().unwrap().values_mut() {
                replica["template"]["spec"]["restartPolicy"] = json!("Always");
            }
        });
        let mut plans = bring_up(framework, &mut world);
        let pod = last(&world);
        end(framework, &mut world, &pod, 137);
        plans.extend(come_back(framework, &mut world));
        let said = events(&plans);
        let said = said
            .iter()
            .filter(|event| event.reason == "SetPodTemplateRestartPolicy");
        assert_eq!(said.count(), 1);
        let pods = plans
            .iter()
            .flat_map(|plan| &plan.writes)
            .filter_map(|write| match write {
                Write::CreatePod { pod, .. } => pod.spec.as_ref(),
                _ => None,
            });
        let kept = if replacing(framework) == "ExitCode" {
            "Never"
        } else {
            "OnFailure"
        };
        for pod in pods {
            assert_eq!(pod.restart_policy.as_deref(), Some(kept));
        }
    });
}

/// An index that is no number ended upstream's process, and of two pods of one index none counted.
#[test]
fn a_pod_under_a_name_that_is_no_replicas_counts_for_nothing() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |_| {});
        let before = world.status();
        let like = world.pods.last().unwrap().clone();
        let (stem, _) = like.name.rsplit_once('-').unwrap();
        for (n, index) in ["-1", "00", "x", "", "1-1", "+1", "99999999999"]
            .into_iter()
            .enumerate()
        {
            world.pods.push(PodView {
                name: format!("{stem}-{index}").into(),
                uid: common::names::Uid::new(&format!("stranger-{n}")),
                ..like.clone()
            });
        }
        let all = world.describe();
        world.settle(framework);
        assert_eq!((world.describe(), world.status()), (all, before.clone()));
        world.pods.reverse();
        world.settle(framework);
        assert_eq!(world.status(), before);
        // They are the job's all the same: a suspended job has no pods.
        spec(&mut world)["runPolicy"]["suspend"] = json!(true);
        for _ in 0..2 {
            world.settle(framework);
            world.reap();
        }
        world.settle(framework);
        assert!(
            world.pods.is_empty() && active(&world) == 0,
            "{}",
            world.describe()
        );
    });
}

/// What was known only to a process, or to a status that somebody has overwritten, was lost.
#[test]
fn a_status_that_somebody_wiped_costs_no_pod() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |_| {});
        let before = world.describe();
        world.job.as_mut().unwrap().status = Value::Null;
        world.settle(framework);
        assert_eq!(world.describe(), before);
        assert!(is(&world, ConditionType::Created) && is(&world, ConditionType::Running));
    });
}
