//! A job's life from its pods to its end, for every meaning of every kind: nothing here knows a kind by name.

use common::api::{ConditionStatus, ConditionType, SuccessPolicy};
use common::kind::{KindInfo, OnFailure, WORKER, Workload};
use common::observe::Phase;
use common::plan::{Plan, Write};
use common::testing::{World, manifest, meanings, whole};
use common::{Framework, conditions, names};
use serde_json::{Value, json};

/// Tells each meaning of each kind by its API version and kind.
fn for_every_kind(test: impl Fn(&'static dyn Framework)) {
    for framework in meanings(operator::FRAMEWORKS) {
        println!("{} {}", framework.kind().api_version(), framework.kind().kind);
        test(framework);
    }
}

/// A job of all roles, all of whose pods run.
fn running(framework: &'static dyn Framework, edit: impl FnOnce(&mut Value)) -> World {
    let mut manifest = whole(framework, 2);
    edit(&mut manifest["spec"]);
    let mut world = World::new(framework, &manifest);
    bring_up(framework, &mut world);
    let status = world.status();
    assert!(conditions::is_true(&status, ConditionType::Running), "{status:?}");
    world
}

fn bring_up(framework: &'static dyn Framework, world: &mut World) {
    // A launcher may wait for its workers.
    for _ in 0..2 {
        world.settle(framework);
        world.run_all();
    }
    world.settle(framework);
}

fn container(framework: &dyn Framework) -> &'static str {
    framework.kind().container.unwrap_or("main")
}

fn end(framework: &dyn Framework, world: &mut World, pod: &str, code: i32) {
    world.end(pod, container(framework), code, "Error", None);
}

fn is(world: &World, condition: ConditionType) -> bool {
    conditions::is_true(&world.status(), condition)
}

/// A pod of ours to whose failure the restart policy of its role applies: the last one.
fn by_policy(framework: &'static dyn Framework, world: &World) -> Option<String> {
    let job = common::resolve::resolve(framework, world.job.as_ref().unwrap()).unwrap();
    let replicas = job.replicas.all().iter().rev();
    let judged = |role| framework.on_failure(role, &job) == OnFailure::ByPolicy;
    let mut judged = replicas.filter(|replica| replica.workload == Workload::Pod && judged(replica.id.role));
    judged.next().map(|replica| replica.name.clone())
}

fn restart_policy(spec: &mut Value, info: &KindInfo, policy: &str) {
    for replica in spec[info.replicas_field].as_object_mut().unwrap().values_mut() {
        replica["restartPolicy"] = json!(policy);
    }
}

fn made(plans: &[Plan]) -> Vec<String> {
    let writes = plans.iter().flat_map(|plan| &plan.writes);
    let mut names: Vec<String> = writes
        .filter_map(|write| match write {
            Write::CreatePod { pod, .. } => pod.metadata.name.clone(),
            _ => None,
        })
        .collect();
    names.sort();
    names
}

#[test]
fn the_facts_of_each_kind_are_whole_and_its_own() {
    let mut seen: Vec<&str> = Vec::new();
    for framework in operator::FRAMEWORKS {
        let info = framework.kind();
        for fact in [
            info.kind,
            info.plural,
            info.controller,
            info.replicas_field,
            info.framework,
            info.success,
        ] {
            assert!(!fact.is_empty(), "{info:?}");
        }
        for own in [info.kind, info.plural, info.controller, info.framework] {
            assert!(!seen.contains(&own), "two kinds have {own}");
            seen.push(own);
        }
        assert!(info.plural == format!("{}s", info.kind.to_ascii_lowercase()));
        let roles: Vec<_> = info.roles.iter().map(|info| info.role).collect();
        assert!(
            !info.decides.is_empty() && info.decides.iter().all(|role| roles.contains(role)),
            "{info:?}"
        );
        assert!(info.scaled_role.is_none_or(|role| roles.contains(&role)));
        assert_eq!(info.success_policies.first(), Some(&SuccessPolicy::OfKind));
        let crd = framework.crd().spec.names;
        let short = crd.short_names.unwrap();
        let others = operator::FRAMEWORKS.iter().filter(|other| {
            other.kind().kind == info.kind || other.crd().spec.names.short_names.as_ref() == Some(&short)
        });
        assert_eq!(others.count(), 1, "two kinds are called {short:?}");
    }
}

#[test]
fn the_example_of_a_kind_is_a_valid_job_whose_names_resolve() {
    for framework in operator::FRAMEWORKS {
        let Some(example) = framework.kind().example else {
            continue;
        };
        let roles: Vec<(&str, u32)> = example
            .roles
            .iter()
            .map(|(role, count)| (role.0, *count))
            .collect();
        let world = World::new(*framework, &manifest(*framework, example.name, &roles));
        let job = common::resolve::resolve(*framework, world.job.as_ref().unwrap()).unwrap();
        assert!(
            framework.leader(&job.replicas, &job).is_some(),
            "somebody's log stands for the job"
        );
        assert!(!example.about.is_empty() && !example.command.is_empty());
    }
}

#[test]
fn it_has_succeeded_when_those_have_who_decide_and_the_rest_is_cleaned_up() {
    for_every_kind(|framework| {
        let mut world = running(framework, |spec| {
            spec["runPolicy"]["cleanPodPolicy"] = json!("Running");
        });
        let deciding = world.deciding(framework);
        for (left, name) in (0..deciding.len()).rev().zip(&deciding) {
            assert!(!is(&world, ConditionType::Succeeded));
            end(framework, &mut world, name, 0);
            world.settle(framework);
            // Of some kinds the first one's success is enough.
            assert!(
                left > 0 || is(&world, ConditionType::Succeeded),
                "{:?}",
                world.status()
            );
        }
        world.reap();
        world.settle(framework);
        let status = world.status();
        let runs = conditions::condition(&status, ConditionType::Running).unwrap();
        assert_eq!(runs.status, ConditionStatus::False);
        assert!(status.completion_time.is_some() && status.first_failure.is_none());
        assert!(
            world.pods.iter().all(common::PodView::has_ended),
            "{}",
            world.describe()
        );
    });
}

#[test]
fn a_failure_under_never_fails_the_job_and_names_the_cause() {
    for_every_kind(|framework| {
        let info = framework.kind();
        let mut world = running(framework, |spec| restart_policy(spec, info, "Never"));
        let Some(pod) = by_policy(framework, &world) else {
            return; // all its pods are replaced, or retried by a batch Job
        };
        end(framework, &mut world, &pod, 7);
        world.settle(framework);
        let status = world.status();
        let failed = status.conditions.last().unwrap();
        assert_eq!(
            (failed.type_, failed.status),
            (ConditionType::Failed, ConditionStatus::True)
        );
        assert_eq!(failed.reason.as_deref(), Some(&*format!("{}Failed", info.kind)));
        let message = failed.message.as_deref().unwrap();
        assert!(message.contains(&pod) && message.contains("code 7"), "{message}");
        let first = status.first_failure.unwrap();
        assert_eq!((&*first.pod, first.exit_code), (&*pod, Some(7)));
    });
}

#[test]
fn a_killed_pod_is_replaced_within_the_limit_and_beyond_it_the_job_fails() {
    for_every_kind(|framework| {
        let info = framework.kind();
        let mut world = running(framework, |spec| {
            // What one meaning of a kind refuses another one has.
            let exit_code = framework.on_failure(WORKER, &resolved(framework)) == OnFailure::ByPolicy;
            restart_policy(spec, info, if exit_code { "ExitCode" } else { "OnFailure" });
            spec["runPolicy"]["backoffLimit"] = json!(1);
        });
        let pod = world.pods.last().unwrap().name.to_string();
        let before = world.pod(&pod).uid.clone();
        end(framework, &mut world, &pod, 137);
        world.settle(framework);
        world.reap();
        let plans = world.settle(framework);
        assert!(made(&plans).iter().all(|made| *made == pod), "{:?}", made(&plans));
        let now = world.pod(&pod);
        assert!(now.uid != before && now.attempt.0 == 1, "{now:?}");
        assert_eq!(world.status().restart_counts.as_ref().unwrap().failures, 1);
        bring_up(framework, &mut world);
        assert!(is(&world, ConditionType::Running), "{:?}", world.status());
        end(framework, &mut world, &pod, 137);
        world.settle(framework);
        assert!(is(&world, ConditionType::Failed), "{:?}", world.status());
    });
}

fn resolved(framework: &'static dyn Framework) -> common::ResolvedJob {
    let world = World::new(framework, &whole(framework, 2));
    common::resolve::resolve(framework, world.job.as_ref().unwrap()).unwrap()
}

#[test]
fn its_time_limit_ends_it_and_its_time_to_live_takes_it_away() {
    for_every_kind(|framework| {
        let mut world = running(framework, |spec| {
            spec["runPolicy"] =
                json!({"activeDeadlineSeconds": 100, "ttlSecondsAfterFinished": 50, "cleanPodPolicy": "All"});
        });
        world.pass_time(99);
        world.settle(framework);
        assert!(!conditions::is_finished(&world.status()));
        world.pass_time(1);
        world.settle(framework);
        assert!(is(&world, ConditionType::Failed));
        world.reap();
        world.settle(framework);
        assert!(
            world.pods.is_empty() && world.batch_jobs.is_empty(),
            "{}",
            world.describe()
        );
        world.pass_time(49);
        world.settle(framework);
        assert!(world.job.is_some());
        world.pass_time(1);
        world.settle(framework);
        assert!(world.job.is_none());
    });
}

#[test]
fn one_failure_of_a_job_that_begins_anew_as_a_whole_takes_all_pods_with_it() {
    for_every_kind(|framework| {
        let info = framework.kind();
        let mut world = running(framework, |spec| {
            restart_policy(spec, info, "OnFailure");
            spec["runPolicy"]["restartScope"] = json!("Job");
        });
        let before: Vec<_> = world.pods.iter().map(|pod| pod.uid.clone()).collect();
        let pod = world.pods.last().unwrap().name.to_string();
        end(framework, &mut world, &pod, 1);
        for _ in 0..4 {
            world.settle(framework);
            world.reap();
            world.pass_time(30); // the pause before a further try
        }
        bring_up(framework, &mut world);
        assert!(is(&world, ConditionType::Running), "{:?}", world.status());
        assert!(
            world
                .pods
                .iter()
                .all(|pod| !before.contains(&pod.uid) && pod.attempt.0 == 1),
            "{}",
            world.describe()
        );
        assert_eq!(world.status().whole_restarts.unwrap().count, 1);
        assert_eq!(world.status().first_failure.unwrap().pod, pod);
    });
}

/// A pod that terminates, or is of an earlier attempt, has neither failed nor is it done, whatever its phase says; and its
/// replica is taken (trainer#2124, mpi#552, jobset#1276).
#[test]
fn a_pod_on_its_way_out_counts_for_nothing_and_keeps_its_replica() {
    for_every_kind(|framework| {
        let info = framework.kind();
        for phase in [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed] {
            for (deleting, old) in [(true, false), (false, true), (true, true)] {
                let mut world = running(framework, |spec| {
                    restart_policy(spec, info, "Never");
                    spec["runPolicy"]["backoffLimit"] = json!(0);
                });
                let name = world.pods.last().unwrap().name.to_string();
                let id = info.replica_of("j", &name).unwrap();
                if old {
                    let replica = json!({"attempt": 1});
                    world.job.as_mut().unwrap().status["slots"][names::replica_key(id.role, id.index)] =
                        replica;
                }
                let pod = world.pod(&name);
                (pod.phase, pod.deleting) = (phase, deleting);
                let plan = world.plan(framework);
                world.apply(&plan);
                let at_first = made(&[plan]);
                let told = format!("{phase:?} {deleting} {old}: {:?}", world.status());
                assert!(!conditions::is_finished(&world.status()), "{told}");
                assert!(!at_first.contains(&name), "{told}");
                assert_eq!(
                    world.status().restart_counts.unwrap_or_default().failures,
                    0,
                    "{told}"
                );
                let counts = &world.status().replica_statuses[id.role.0];
                assert_eq!((counts.succeeded, counts.failed), (0, 0), "{told}");
                world.reap();
                assert_eq!(made(&world.settle(framework)), [name], "{told}");
            }
        }
    });
}

/// What is deleted at the end depends on the kind of the job, on its end, or on what a pod was doing (mpi#312, mpi#643,
/// mpi#644, trainer#774, trainer#1241).
#[test]
fn clean_up_takes_what_its_policy_says_whatever_the_end() {
    for_every_kind(|framework| {
        let info = framework.kind();
        for policy in ["None", "Running", "All"] {
            for outcome in ["success", "failure", "limit", "deadline"] {
                let mut world = running(framework, |spec| {
                    restart_policy(
                        spec,
                        info,
                        if outcome == "failure" {
                            "Never"
                        } else {
                            "OnFailure"
                        },
                    );
                    spec["runPolicy"] =
                        json!({"cleanPodPolicy": policy, "backoffLimit": 0, "activeDeadlineSeconds": 500});
                });
                let last = world.pods.last().unwrap().name.to_string();
                match (outcome, by_policy(framework, &world)) {
                    ("success", _) => {
                        for name in world.deciding(framework) {
                            end(framework, &mut world, &name, 0);
                        }
                    }
                    ("failure", Some(pod)) => end(framework, &mut world, &pod, 7),
                    ("failure", None) => continue, // it has no pods that are judged so
                    ("limit", _) => end(framework, &mut world, &last, 137),
                    _ => world.pass_time(500),
                }
                let before = world.pods.clone();
                for _ in 0..3 {
                    world.settle(framework);
                    world.reap();
                    world.pass_time(20);
                }
                let told = format!("{policy} after {outcome}: {}", world.describe());
                assert!(conditions::is_finished(&world.status()), "{told}");
                let stopped = ["limit", "deadline"].contains(&outcome);
                let stays = |pod: &common::PodView| match policy {
                    "All" => false,
                    "None" if !stopped => true,
                    _ => pod.has_ended(),
                };
                let names = |pods: &[common::PodView]| -> Vec<String> {
                    pods.iter().map(|pod| pod.name.to_string()).collect()
                };
                let wanted: Vec<_> = before.into_iter().filter(stays).collect();
                assert_eq!(names(&world.pods), names(&wanted), "{told}");
                if policy == "All" {
                    assert!(
                        world.batch_jobs.is_empty() && world.batch_pods.is_empty(),
                        "{told}"
                    );
                    assert!(world.children.is_empty(), "{told}");
                }
            }
        }
    });
}
