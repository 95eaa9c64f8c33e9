//! Jobs end, and what becomes of them then.

use common::api::ConditionType;
use common::gang::{Gang, Placement};
use common::plan::{Counter, Plan};
use common::testing::World;
use common::{Framework, conditions, resolve};
use serde_json::json;

use super::kit::{
    by_policy, by_timer, come_back, counted, end, events, finish, for_every_kind, held, is, job, last,
    policy, replacing, running, spec,
};

/// How a job ends.
const ENDS: [&str; 5] = ["success", "failure", "limit", "deadline", "invalid"];

/// The life of a job that ends so, and the plans of it; `None` if the kind knows no such end.
fn ended(framework: &'static dyn Framework, how: &str, ttl: Option<i64>) -> Option<(World, Vec<Plan>)> {
    let mut world = job(framework, 2, |spec| {
        policy(
            framework,
            spec,
            if how == "failure" {
                "Never"
            } else {
                replacing(framework)
            },
        );
        spec["runPolicy"] = json!({"ttlSecondsAfterFinished": ttl});
        match how {
            "limit" => spec["runPolicy"]["backoffLimit"] = json!(1),
            "deadline" => spec["runPolicy"]["activeDeadlineSeconds"] = json!(1000),
            "invalid" => spec[framework.kind().replicas_field] = json!({}),
            _ => {}
        }
    });
    let mut plans = come_back(framework, &mut world);
    match how {
        "success" => finish(framework, &mut world),
        "failure" => {
            let pod = by_policy(framework, &world)?;
            end(framework, &mut world, &pod, 1);
        }
        "limit" => {
            for _ in 0..2 {
                let pod = last(&world);
                end(framework, &mut world, &pod, 137);
                plans.extend(come_back(framework, &mut world));
            }
        }
        "deadline" => world.pass_time(1000),
        _ => {}
    }
    plans.extend(world.settle(framework));
    assert!(
        conditions::is_finished(&world.status()),
        "{how}: {:?}",
        world.status()
    );
    Some((world, plans))
}

fn ends(
    framework: &'static dyn Framework,
    ttl: Option<i64>,
) -> impl Iterator<Item = (&'static str, World, Vec<Plan>)> {
    ENDS.into_iter().filter_map(move |how| {
        let (world, plans) = ended(framework, how, ttl)?;
        Some((how, world, plans))
    })
}

/// trainer#3358: the deadline counts when something else happens.
#[test]
fn the_deadline_acts_though_nothing_happens() {
    for_every_kind(|framework| {
        let limited = |spec: &mut serde_json::Value| {
            policy(framework, spec, replacing(framework));
            spec["runPolicy"]["activeDeadlineSeconds"] = json!(1000);
        };
        let waits = job(framework, 2, limited);
        let runs = running(framework, 2, limited);
        let mut begins_anew = runs.clone();
        let pod = last(&begins_anew);
        for _ in 0..2 {
            end(framework, &mut begins_anew, &pod, 137);
            come_back(framework, &mut begins_anew);
        }
        end(framework, &mut begins_anew, &pod, 137);
        for mut world in [waits, runs, begins_anew] {
            world.settle(framework);
            let begun = world.status().start_time.expect("it has begun");
            by_timer(framework, &mut world, |world| {
                conditions::is_finished(&world.status())
            });
            assert!(is(&world, ConditionType::Failed));
            assert_eq!(world.now.duration_since(begun.0).as_secs(), 1000);
        }
    });
}

/// trainer#2044, #2239: a job without completionTime is never deleted.
#[test]
fn the_time_to_live_acts_though_nothing_happens_however_the_job_ended() {
    for_every_kind(|framework| {
        for (how, mut world, _) in ends(framework, Some(500)) {
            let over = world.status().completion_time.unwrap_or_else(|| panic!("{how}"));
            let plans = by_timer(framework, &mut world, |world| world.job.is_none());
            assert_eq!(world.now.duration_since(over.0).as_secs(), 500, "{how}");
            let told = events(&plans);
            assert_eq!(told.last().unwrap().reason, "SuccessfulDeleteJob");
            assert_eq!(counted(&plans, Counter::Deleted), 1);
        }
    });
}

/// What ended under another operator bears no time.
#[test]
fn a_job_that_upstream_left_without_completion_time_is_deleted_in_time() {
    for_every_kind(|framework| {
        let mut world = job(framework, 2, |spec| {
            spec["runPolicy"]["ttlSecondsAfterFinished"] = json!(50);
        });
        let condition = |what: &str| json!({"type": what, "status": "True"});
        let conditions = json!([condition("Created"), condition("Restarting"), condition("Failed")]);
        world.job.as_mut().unwrap().status = json!({"conditions": conditions});
        let begun = world.now;
        by_timer(framework, &mut world, |world| world.job.is_none());
        assert_eq!(world.now.duration_since(begun).as_secs(), 50);
        assert!(world.created.is_empty(), "it does not run again");
    });
}

/// trainer#2408: ends that nobody counted, and successes that were counted with each attempt to store them.
#[test]
fn each_end_is_counted_once() {
    for_every_kind(|framework| {
        for (how, mut world, plans) in ends(framework, None) {
            let failed = usize::from(how != "success");
            assert_eq!(counted(&plans, Counter::Created), 1, "{how}");
            assert_eq!(counted(&plans, Counter::Failed), failed, "{how}");
            assert_eq!(counted(&plans, Counter::Succeeded), 1 - failed, "{how}");
            world.is_stable(framework);
        }
    });
}

/// Upstream counts each pod, and once more by its rule of states.
#[test]
fn two_pods_that_fail_together_are_one_restart() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| policy(framework, spec, replacing(framework)));
        for pod in [world.pods[0].name.to_string(), last(&world)] {
            end(framework, &mut world, &pod, 137);
        }
        let plans = come_back(framework, &mut world);
        assert_eq!(counted(&plans, Counter::Restarted), 1);
        assert!(is(&world, ConditionType::Running));
    });
}

/// Events of a job that had a gang came in every pass.
#[test]
fn what_is_over_is_told_once_and_its_gang_goes() {
    for_every_kind(|framework| {
        let mut world = job(framework, 2, |_| {});
        world.settings.gang = Gang::Volcano;
        world.settle(framework);
        for _ in 0..3 {
            world.say_of_pod_group(Some("Running"), &Placement::Found);
            world.schedule(99);
            world.run_all();
            world.settle(framework);
        }
        assert!(is(&world, ConditionType::Running), "{:?}", world.status());
        finish(framework, &mut world);
        world.settle(framework);
        assert!(is(&world, ConditionType::Succeeded) && world.pod_group().is_none());
        world.is_stable(framework);
    });
}

/// mpi-operator#86: a job that had ended ran again.
#[test]
fn a_job_that_has_ended_makes_nothing_whatever_becomes_of_its_pods() {
    for_every_kind(|framework| {
        for (_, mut world, _) in ends(framework, None) {
            let made = world.created.len();
            for pod in world.pods.clone() {
                world.vanish(&pod.name);
            }
            world.batch_jobs.clear();
            world.batch_pods.clear();
            world.children.clear();
            world.extras.clear();
            world.is_stable(framework);
            assert_eq!(world.created.len(), made);
        }
    });
}

/// mpi-operator#787: Running came back, or came last, after the end.
#[test]
fn the_end_is_the_last_word_though_nobody_saw_the_job_run() {
    for_every_kind(|framework| {
        let mut world = job(framework, 2, |_| {});
        world.settle(framework);
        finish(framework, &mut world);
        world.settle(framework);
        world.run_all();
        world.settle(framework);
        let ended = world.status();
        assert_eq!(ended.conditions.last().unwrap().type_, ConditionType::Succeeded);
        assert_eq!(held(&ended), [ConditionType::Created, ConditionType::Succeeded]);
    });
}

/// What Kubeflow's own client asks of a job that has succeeded, and what autoscalers read.
#[test]
fn nothing_of_an_earlier_trouble_holds_after_a_success() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| policy(framework, spec, replacing(framework)));
        let pod = last(&world);
        end(framework, &mut world, &pod, 137);
        come_back(framework, &mut world);
        finish(framework, &mut world);
        world.settle(framework);
        let ended = world.status();
        assert_eq!(held(&ended), [ConditionType::Created, ConditionType::Succeeded]);
        let runs = conditions::condition(&ended, ConditionType::Running).unwrap();
        assert_eq!(runs.last_transition_time, ended.completion_time);
        let job = resolve::resolve(framework, world.job.as_ref().unwrap()).unwrap();
        for replica in &job.roles {
            let counts = &ended.replica_statuses[replica.role.0];
            assert!(counts.selector.is_some(), "{}", replica.role);
            assert_eq!(counts.failed, 0, "{}", replica.role);
        }
    });
}

/// A policy that upstream does not know deletes all.
#[test]
fn an_unknown_clean_up_policy_deletes_nothing() {
    for_every_kind(|framework| {
        let mut world = running(framework, 2, |spec| {
            spec["runPolicy"]["cleanPodPolicy"] = json!("None");
        });
        spec(&mut world)["runPolicy"]["cleanPodPolicy"] = json!("Sometimes");
        let condition = |what: &str| json!({"type": what, "status": "True"});
        let conditions = json!([condition("Created"), condition("Succeeded")]);
        world.job.as_mut().unwrap().status["conditions"] = conditions;
        let before = world.describe();
        world.settle(framework);
        assert_eq!(world.describe(), before);
    });
}

/// Services went with their pods only.
#[test]
fn services_go_though_the_pods_are_gone_already() {
    for_every_kind(|framework| {
        for suspended in [false, true] {
            let mut world = running(framework, 2, |spec| {
                spec["runPolicy"]["cleanPodPolicy"] = json!("All");
            });
            if suspended {
                spec(&mut world)["runPolicy"]["suspend"] = json!(true);
            } else {
                finish(framework, &mut world);
            }
            // The end is stored, and then all pods go.
            let plan = world.plan(framework);
            world.apply_until(&plan, 1);
            world.pods.clear();
            world.batch_jobs.clear();
            world.batch_pods.clear();
            world.settle(framework);
            assert!(world.children.is_empty(), "{suspended}: {:?}", world.children);
        }
    });
}

/// mpi-operator cleans up by the number of replicas.
#[test]
fn pods_beyond_replicas_that_were_lowered_in_that_moment_go_too() {
    for_every_kind(|framework| {
        let info = framework.kind();
        for suspended in [false, true] {
            let mut world = running(framework, 3, |spec| {
                spec["runPolicy"]["cleanPodPolicy"] = json!("All");
            });
            let role = info.scaled_role.unwrap();
            spec(&mut world)[info.replicas_field][role.0]["replicas"] = json!(1);
            if suspended {
                spec(&mut world)["runPolicy"]["suspend"] = json!(true);
            } else {
                finish(framework, &mut world);
            }
            for _ in 0..2 {
                world.settle(framework);
                world.reap();
            }
            assert!(
                suspended || is(&world, ConditionType::Succeeded),
                "{:?}",
                world.status()
            );
            assert!(
                world.pods.is_empty() && world.batch_jobs.is_empty(),
                "{}",
                world.describe()
            );
        }
    });
}
