//! Details that no scenario turns on, and that a user reads all the same: each was found by changing what is decided until no
//! other test saw it (`cargo mutants`).

use common::api::{ConditionType, FirstFailure};
use common::conditions;
use common::gang::Gang;
use common::observe::{ContainerState, ContainerView, PodDetail, Refusal, RefusalCause};
use common::plan::{Counter, Write};
use common::testing::{Scenario, World};
use pytorchjob::FRAMEWORK;
use serde_json::{Value, json};

const ALL: &[(&str, u32)] = &[("Master", 1), ("Worker", 2)];

fn started(edit: impl FnOnce(&mut Value)) -> Scenario {
    Scenario::started(&FRAMEWORK, ALL, edit)
}

fn fails(world: &mut World, pod: &str) {
    world.end(pod, "pytorch", 1, "Error", None);
}

fn first(scenario: &Scenario) -> FirstFailure {
    scenario.world.status().first_failure.unwrap()
}

fn message(scenario: &Scenario, condition: ConditionType) -> String {
    let status = scenario.world.status();
    let condition = conditions::condition(&status, condition).unwrap();
    condition.message.clone().unwrap()
}

#[test]
fn who_was_taken_away_is_named_with_role_and_time() {
    let mut scenario = started(|_| {});
    scenario.when("somebody deletes worker 1", |w| {
        w.pass_time(7);
        w.delete("j-worker-1");
    });
    let now = scenario.world.now;
    let first = first(&scenario);
    assert_eq!(
        (&*first.role, first.index, first.reason.as_deref()),
        ("Worker", 1, Some("Deleted"))
    );
    assert_eq!(first.finished_at.unwrap().0, now);
}

#[test]
fn who_failed_before_by_himself_is_a_follower_now() {
    let mut scenario = started(|_| {});
    scenario.when("worker 1 fails", |w| fails(w, "j-worker-1"));
    scenario.when("it is gone", World::reap);
    scenario.when("time passes", |w| w.pass_time(600));
    scenario.when("all run again", World::run_all);
    assert_eq!(scenario.world.pod("j-worker-1").attempt.0, 1);
    scenario.when("worker 0 fails", |w| fails(w, "j-worker-0"));
    scenario.when("which worker 1 cannot bear", |w| {
        w.pass_time(2);
        fails(w, "j-worker-1");
    });
    let first = first(&scenario);
    assert_eq!(
        (&*first.pod, first.follower_count),
        ("j-worker-0", 1),
        "{}",
        scenario.transcript
    );
}

#[test]
fn of_two_that_failed_alike_in_one_second_the_first_that_is_seen_stays_the_first() {
    let mut scenario = started(|_| {});
    scenario.when("worker 1 fails", |w| fails(w, "j-worker-1"));
    scenario.when("and so does worker 0", |w| fails(w, "j-worker-0"));
    assert_eq!(&*first(&scenario).pod, "j-worker-1");
}

/// Where a queue admits gangs it has no start time while it waits to go on, and yet it has begun.
#[test]
fn what_waits_to_go_on_can_be_suspended_whatever_else_is_wrong_with_it() {
    let mut scenario = started(|spec| spec["runPolicy"] = json!({"suspend": false}));
    scenario.when("suspended", |w| w.edit("/runPolicy/suspend", json!(true)));
    scenario.when("all is gone", World::reap);
    scenario.world.settings.gang = Gang::Volcano;
    scenario.when("resumed, it waits in a queue", |w| {
        w.edit("/runPolicy/suspend", json!(false));
    });
    let waits = scenario.world.status();
    assert!(waits.start_time.is_none() && waits.attempt > 0, "{waits:?}");
    scenario.when("it cannot be run any more, and is suspended", |w| {
        w.edit("/pytorchReplicaSpecs/Worker/template/spec/containers", json!([]));
        w.edit("/runPolicy/suspend", json!(true));
    });
    let status = scenario.world.status();
    assert!(
        conditions::is_true(&status, ConditionType::Suspended),
        "{}",
        scenario.transcript
    );
    assert!(!conditions::is_finished(&status), "{}", scenario.transcript);
}

#[test]
fn a_failure_is_told_at_once_and_mere_counts_are_not() {
    let mut scenario = Scenario::new(&FRAMEWORK, ALL, |_| {});
    scenario.when("applied", |_| {});
    scenario.when("the master runs", |w| w.run(&["j-master-0"]));
    scenario.world.run(&["j-worker-0"]);
    let counts = scenario.world.plan(&FRAMEWORK);
    assert!(
        counts
            .status
            .is_some_and(|status| status != scenario.world.status())
    );
    assert!(!counts.status_is_urgent);
    fails(&mut scenario.world, "j-worker-1");
    let failure = scenario.world.plan(&FRAMEWORK);
    assert!(failure.status_is_urgent);
    let mut scenario = started(|_| {});
    scenario.world.end("j-master-0", "pytorch", 0, "Completed", None);
    assert!(scenario.world.plan(&FRAMEWORK).status_is_urgent, "the end");
}

#[test]
fn running_pods_are_cleaned_up_at_once_and_those_that_end_by_themselves_are_not() {
    let mut scenario = started(|spec| spec["runPolicy"] = json!({"cleanPodPolicy": "Running"}));
    let waiting = ContainerState::Waiting {
        reason: "CrashLoopBackOff".into(),
        message: None,
    };
    let ended = ContainerState::Terminated {
        exit_code: 0,
        reason: Some("Completed".into()),
        message: None,
        finished_at: Some(scenario.world.now),
    };
    for (pod, state) in [("j-worker-0", waiting), ("j-worker-1", ended)] {
        scenario.world.pod(pod).detail = Some(Box::new(PodDetail {
            containers: vec![ContainerView {
                name: "pytorch".into(),
                init: false,
                state,
            }],
            ..PodDetail::default()
        }));
    }
    scenario.when("the master is done", |w| {
        w.end("j-master-0", "pytorch", 0, "Completed", None);
    });
    let goes = |scenario: &mut Scenario, pod: &str| scenario.world.pod(pod).deleting;
    assert!(
        goes(&mut scenario, "j-worker-0"),
        "it runs: {}",
        scenario.transcript
    );
    assert!(
        !goes(&mut scenario, "j-worker-1"),
        "it ends by itself: {}",
        scenario.transcript
    );
    scenario.when("ten seconds pass", |w| w.pass_time(10));
    assert!(goes(&mut scenario, "j-worker-1"), "{}", scenario.transcript);
}

#[test]
fn disruptions_are_not_blamed_for_what_they_have_not_done() {
    let mut scenario = started(|spec| spec["runPolicy"] = json!({"backoffLimit": 0}));
    scenario.world.settings.count_disruptions = true;
    scenario.when("worker 1 fails", |w| fails(w, "j-worker-1"));
    let failed = message(&scenario, ConditionType::Failed);
    assert!(failed.contains("backoff limit of 0: "), "{failed}");
    let mut scenario = started(|spec| spec["runPolicy"] = json!({"backoffLimit": 1}));
    scenario.world.settings.count_disruptions = true;
    scenario.when("worker 1 is evicted", |w| {
        w.evict("j-worker-1", Some("EvictionByEvictionAPI"));
    });
    scenario.when("it is gone", World::reap);
    scenario.when("all run", World::run_all);
    scenario.when("worker 0 fails", |w| fails(w, "j-worker-0"));
    let failed = message(&scenario, ConditionType::Failed);
    assert!(failed.contains("limit of 1 (disruptions count): "), "{failed}");
}

#[test]
fn it_does_not_end_before_it_began() {
    let mut scenario = started(|_| {});
    let began = scenario.world.status().start_time.unwrap();
    scenario.when("the clock was ahead, and the master is done", |w| {
        w.pass_time(-3600);
        w.end("j-master-0", "pytorch", 0, "Completed", None);
    });
    assert_eq!(scenario.world.status().completion_time, Some(began));
}

#[test]
fn of_very_many_replaced_pods_not_every_status_has_its_reason() {
    const MANY: u32 = 1200;
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", MANY)], |spec| {
        spec["elasticPolicy"] = json!({"minReplicas": 1, "maxReplicas": MANY});
    });
    let reasons = |scenario: &Scenario, with: &str| {
        let replicas = scenario.world.status().slots;
        let of = replicas
            .values()
            .filter(|replica| replica.reason.as_deref() == Some(with));
        (replicas.len(), of.count())
    };
    scenario.when("a hundred are left", |w| {
        w.edit("/pytorchReplicaSpecs/Worker/replicas", json!(100));
    });
    // What must not be forgotten, or it would count as lost.
    assert_eq!(reasons(&scenario, "scaled down"), (1100, 1100));
    let mut scenario = Scenario::started(&FRAMEWORK, &[("Worker", MANY)], |spec| {
        spec["runPolicy"] = json!({"backoffLimit": 100_000});
        spec["pytorchReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    });
    scenario.when("all are killed", |w| {
        for n in 0..MANY {
            w.end(&format!("j-worker-{n}"), "pytorch", 137, "Error", None);
        }
    });
    let replicas = scenario.world.status().slots;
    assert_eq!(replicas.len(), 1200);
    assert_eq!(
        replicas
            .values()
            .filter(|replica| replica.reason.is_some())
            .count(),
        1000
    );
}

#[test]
fn of_many_pods_that_are_made_a_few_are_named() {
    for (count, text) in [
        (1, "Created pod: j-worker-0"),
        (2, "Created pods: j-worker-0, j-worker-1"),
        (
            9,
            "Created 9 pods: j-worker-0, j-worker-1, j-worker-2, j-worker-3, j-worker-4, j-worker-5, j-worker-6, j-worker-7, ...",
        ),
    ] {
        let scenario = Scenario::new(&FRAMEWORK, &[("Worker", count)], |_| {});
        let events = scenario.world.plan(&FRAMEWORK).events;
        assert!(
            events
                .iter()
                .any(|event| event.message == text && event.of_writes),
            "{events:?}"
        );
    }
}

#[test]
fn a_refused_deletion_is_called_one() {
    let mut scenario = started(|_| {});
    scenario.world.refusals = vec![Refusal {
        object: "Pod j-worker-0".to_owned(),
        deletion: true,
        cause: RefusalCause::Forbidden,
        message: "a webhook says no".to_owned(),
    }];
    let status = scenario.world.plan(&FRAMEWORK).status.unwrap();
    assert_eq!(
        status.waiting_for.as_deref(),
        Some("the deletion of Pod j-worker-0 was refused: a webhook says no")
    );
}

#[test]
fn begun_anew_together_it_is_counted_as_a_restart() {
    let mut scenario = started(|spec| {
        spec["runPolicy"] = json!({"restartScope": "Job", "activeDeadlineSeconds": 90});
    });
    fails(&mut scenario.world, "j-worker-0");
    let plan = scenario.world.plan(&FRAMEWORK);
    assert_eq!(plan.counters, [Counter::Restarted]);
    let began = scenario.world.status().start_time.unwrap().0;
    assert_eq!(plan.requeue_at.unwrap().as_second() - began.as_second(), 90);
}

#[test]
fn first_words_are_told_once() {
    let mut scenario = Scenario::new(&FRAMEWORK, ALL, |spec| {
        spec["runPolicy"] = json!({"suspend": true});
        spec["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["restartPolicy"] = json!("Always");
    });
    let told = |scenario: &Scenario| scenario.transcript.matches("SetPodTemplateRestartPolicy").count();
    scenario.when("applied", |_| {});
    scenario.when("resumed", |w| w.edit("/runPolicy/suspend", json!(false)));
    assert_eq!(told(&scenario), 1, "{}", scenario.transcript);
    scenario.when("all run", World::run_all);
    scenario.when("suspended", |w| w.edit("/runPolicy/suspend", json!(true)));
    scenario.when("all is gone", World::reap);
    scenario.when("resumed again", |w| w.edit("/runPolicy/suspend", json!(false)));
    assert_eq!(told(&scenario), 1, "{}", scenario.transcript);
}

#[test]
fn a_leader_that_is_kept_counts_as_long_as_it_runs() {
    let mut scenario = started(|spec| spec["runPolicy"] = json!({"activeDeadlineSeconds": 600}));
    let active = |scenario: &Scenario| scenario.world.status().replica_statuses["Master"].active;
    scenario.when("its role is taken away", |w| {
        w.edit("/pytorchReplicaSpecs/Master/replicas", json!(0));
    });
    assert_eq!(active(&scenario), 1, "{}", scenario.transcript);
    // Its time runs all the same.
    let began = scenario.world.status().start_time.unwrap().0;
    let requeue_at = scenario.world.plan(&FRAMEWORK).requeue_at.unwrap();
    assert_eq!(requeue_at.as_second() - began.as_second(), 600);
    scenario.when("it is told to go", |w| w.delete("j-master-0"));
    assert_eq!(active(&scenario), 0, "{}", scenario.transcript);
}

#[test]
fn what_is_deleted_after_the_time_to_live_is_looked_at_in_time() {
    let mut scenario = started(|spec| spec["runPolicy"] = json!({"ttlSecondsAfterFinished": 60}));
    scenario.when("the master is done", |w| {
        w.end("j-master-0", "pytorch", 0, "Completed", None);
    });
    let ended = scenario.world.status().completion_time.unwrap().0;
    let requeue_at = scenario.world.plan(&FRAMEWORK).requeue_at.unwrap();
    assert_eq!(requeue_at.as_second() - ended.as_second(), 60);
    scenario.world.pass_time(60);
    let plan = scenario.world.plan(&FRAMEWORK);
    assert!(matches!(&*plan.writes, [Write::DeleteJob { .. }]), "{plan:?}");
}
