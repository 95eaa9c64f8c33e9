//! Pods fail or are taken away.

use common::api::{ConditionType, JobStatus};
use common::observe::PodDetail;
use serde_json::json;

use super::kit::{
    active, bring_up, by_policy, come_back, deletes, end, finish, for_every_kind, held, is, last, message,
    policies, policy, replacing, running, spec,
};

fn counts(status: &JobStatus) -> (i32, i32, i32) {
    let counts = status.restart_counts.clone().unwrap_or_default();
    (counts.failures, counts.in_place, counts.disruptions)
}

/// trainer#999, #1570: whoever deletes or drains a pod fails the job.
#[test]
fn a_pod_that_somebody_deletes_comes_back_under_every_policy() {
    for_every_kind(|framework| {
        for stated in policies(framework) {
            for drained in [false, true] {
                let mut world = running(framework, 2, |spec| {
                    policy(framework, spec, stated);
                    spec["runPolicy"]["backoffLimit"] = json!(0);
                });
                let pod = last(&world);
                if drained {
                    world.disrupt(&pod, "EvictionByEvictionAPI");
                } else {
                    world.delete(&pod);
                }
                world.settle(framework);
                assert!(
                    is(&world, ConditionType::Restarting),
                    "{stated}: {:?}",
                    world.status()
                );
                let failed: i32 = world.status().replica_statuses.values().map(|c| c.failed).sum();
                assert_eq!(failed, 0, "{stated}: what is on its way out has not failed");
                come_back(framework, &mut world);
                assert!(
                    is(&world, ConditionType::Running),
                    "{stated}: {:?}",
                    world.status()
                );
                assert_eq!(world.pod(&pod).attempt.0, 1);
                assert_eq!(counts(&world.status()), (0, 0, 1), "{stated}");
            }
        }
    });
}

/// Upstream makes up an exit code for it.
#[test]
fn a_pod_that_failed_without_a_container_status_is_worth_another_try_under_exit_code() {
    for_every_kind(|framework| {
        if !policies(framework).contains(&"ExitCode") {
            return;
        }
        let mut world = running(framework, 2, |spec| policy(framework, spec, "ExitCode"));
        let pod = by_policy(framework, &world).unwrap();
        world.evict(&pod, None);
        come_back(framework, &mut world);
        assert!(is(&world, ConditionType::Running), "{:?}", world.status());
        assert_eq!(
            counts(&world.status()),
            (1, 0, 0),
            "nobody says that it was taken away"
        );
        assert_eq!(world.status().first_failure.unwrap().exit_code, None);
    });
}

/// trainer#2045, #1589, #2342: restarts of one sort or the other do not count.
#[test]
fn the_limit_is_one_for_pods_that_are_replaced_and_containers_that_restart_in_place() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| {
            policy(framework, spec, "OnFailure");
            spec["runPolicy"]["backoffLimit"] = json!(2);
        });
        let (first, second) = (world.pods[0].name.to_string(), last(&world));
        assert_ne!(first, second);
        world.pod(&second).restarts = 1;
        world.settle(framework);
        assert_eq!(counts(&world.status()), (0, 1, 0));
        end(framework, &mut world, &first, 137);
        come_back(framework, &mut world);
        assert!(is(&world, ConditionType::Running), "{:?}", world.status());
        assert_eq!(counts(&world.status()), (1, 1, 0));
        world.pod(&second).restarts = 2;
        world.settle(framework);
        assert!(is(&world, ConditionType::Failed), "{:?}", world.status());
        assert!(message(&world, ConditionType::Failed).contains("backoff limit of 2"));
    });
}

/// Reaching the limit is not exceeding it, and 0 is a limit.
#[test]
fn a_limit_of_0_allows_none_and_a_limit_of_1_allows_one() {
    for_every_kind(|framework| {
        for limit in [0, 1] {
            for in_place in [true, false] {
                let mut world = running(framework, 2, |spec| {
                    policy(
                        framework,
                        spec,
                        if in_place {
                            "OnFailure"
                        } else {
                            replacing(framework)
                        },
                    );
                    spec["runPolicy"]["backoffLimit"] = json!(limit);
                });
                let pod = last(&world);
                for round in 0..=limit {
                    assert!(is(&world, ConditionType::Running), "{:?}", world.status());
                    if in_place {
                        world.pod(&pod).restarts = round + 1;
                    } else {
                        end(framework, &mut world, &pod, 137);
                    }
                    come_back(framework, &mut world);
                }
                assert!(is(&world, ConditionType::Failed), "{limit} {:?}", world.status());
            }
        }
    });
}

/// Beyond the limit upstream deletes all pods, and with them the log that tells why.
#[test]
fn beyond_the_limit_what_runs_goes_and_the_pod_that_failed_stays() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| {
            policy(framework, spec, replacing(framework));
            spec["runPolicy"]["backoffLimit"] = json!(0);
        });
        let pod = last(&world);
        let others = world.pods.len() - 1 + world.batch_jobs.len();
        end(framework, &mut world, &pod, 137);
        let plans = world.settle(framework);
        assert!(is(&world, ConditionType::Failed), "{:?}", world.status());
        let deleted = deletes(&plans);
        assert!(
            deleted.len() == others && !deleted.contains(&&*pod),
            "{deleted:?}"
        );
        assert_eq!(active(&world), 0, "and none is said to run");
    });
}

/// trainer#1711: Running and Restarting flip while a worker is replaced beside a leader that runs.
#[test]
fn restarting_stands_until_all_run_again() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| policy(framework, spec, replacing(framework)));
        let pod = last(&world);
        end(framework, &mut world, &pod, 137);
        for what in ["failed", "is going", "is made", "waits"] {
            world.settle(framework);
            let held = held(&world.status());
            assert_eq!(
                held,
                [ConditionType::Created, ConditionType::Restarting],
                "{what}"
            );
            match what {
                "is going" => world.reap(),
                "is made" => world.pass_time(1),
                _ => {}
            }
        }
        bring_up(framework, &mut world);
        let held = held(&world.status());
        assert_eq!(held, [ConditionType::Created, ConditionType::Running]);
    });
}

/// The words of a condition whose status and reason stay are those of the first time.
#[test]
fn the_second_restart_names_its_own_cause() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| policy(framework, spec, replacing(framework)));
        let (first, second) = (world.pods[0].name.to_string(), last(&world));
        for pod in [&second, &first] {
            end(framework, &mut world, pod, 137);
            world.settle(framework);
            let told = message(&world, ConditionType::Restarting);
            assert!(told.contains(&format!("pod {pod} ")), "{pod}: {told}");
        }
    });
}

/// Succeeded and Failed were both True.
#[test]
fn a_job_whose_leader_is_done_has_succeeded_whoever_else_fails_in_that_moment() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| policy(framework, spec, "Never"));
        let deciding = world.deciding(framework);
        let mut names = world.pods.iter().map(|pod| pod.name.to_string());
        let Some(other) = names.rfind(|name| !deciding.contains(name)) else {
            return; // all decide
        };
        finish(framework, &mut world);
        end(framework, &mut world, &other, 1);
        world.settle(framework);
        let held = held(&world.status());
        assert_eq!(held, [ConditionType::Created, ConditionType::Succeeded]);
    });
}

/// A pod that is scaled away was still counted.
#[test]
fn who_is_scaled_away_counts_no_more() {
    for_every_kind(|framework| {
        let info = framework.kind();
        let role = info.scaled_role.unwrap();
        let mut world = running(framework, 3, |_| {});
        spec(&mut world)[info.replicas_field][role.0]["replicas"] = json!(1);
        let plan = world.plan(framework);
        let first = plan.intent.expect("nothing is deleted before that is stored");
        let counts = &first.replica_statuses[role.0];
        assert_eq!((counts.active, counts.failed), (1, 0));
    });
}

/// trainer#1637: what a service mesh adds to the pod fails it.
#[test]
fn a_sidecar_that_fails_costs_nothing() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| policy(framework, spec, "Never"));
        let Some(pod) = by_policy(framework, &world) else {
            return;
        };
        world.end(&pod, "mesh", 1, "Error", None);
        let pod = world.pod(&pod);
        pod.phase = common::observe::Phase::Running;
        pod.ready = true;
        world.settle(framework);
        assert!(is(&world, ConditionType::Running), "{:?}", world.status());
        assert_eq!(counts(&world.status()), (0, 0, 0));
    });
}

/// trainer#366: one pod that cannot go holds up all that is to be done.
#[test]
fn a_pod_that_does_not_go_holds_up_its_own_replica_alone() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| policy(framework, spec, replacing(framework)));
        let (stuck, other) = (world.pods[0].name.to_string(), world.pods[1].name.to_string());
        world.delete(&stuck);
        world.pod(&stuck).detail = Some(Box::new(PodDetail::default()));
        end(framework, &mut world, &other, 137);
        world.settle(framework);
        // All but one are gone.
        let kept = world.pod(&stuck).clone();
        world.reap();
        world.pods.insert(0, kept);
        world.vanished.clear();
        world.pass_time(300);
        bring_up(framework, &mut world);
        assert_eq!(world.pod(&other).attempt.0, 1);
        assert_eq!(world.pod(&stuck).attempt.0, 0);
        let told = world.status().waiting_for.unwrap();
        assert!(told.contains(&stuck), "{told}");
    });
}
