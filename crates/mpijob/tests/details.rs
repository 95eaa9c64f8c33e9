//! Details that no story turns on, and that a user reads all the same: each was found by changing what is decided until no
//! other test saw it (`cargo mutants`).
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and read better without ceremony"
)]

use common::api::ConditionType;
use common::gang::Gang;
use common::observe::{ContainerState, ContainerView, PodDetail};
use common::plan::Write;
use common::status;
use common::testing::{Story, World};
use mpijob::FRAMEWORK;
use serde_json::{Value, json};

const ROLES: &[(&str, u32)] = &[("Launcher", 1), ("Worker", 2)];

fn edited(edit: impl FnOnce(&mut Value)) -> impl FnOnce(&mut Value) {
    |spec| {
        spec["launcherTransport"] = json!("SSH");
        edit(spec);
    }
}

fn started(edit: impl FnOnce(&mut Value)) -> Story {
    Story::started(&FRAMEWORK, ROLES, edited(edit))
}

fn is(story: &Story, condition: ConditionType) -> bool {
    status::is_true(&story.world.status(), condition)
}

fn gives_up(world: &mut World) {
    let message = "Job has reached the specified backoff limit";
    world.end_batch_job("j-launcher", false, "BackoffLimitExceeded", message);
}

fn launchers(story: &Story) -> usize {
    let made = story.world.created.iter();
    made.filter(|(name, _)| name == "j-launcher").count()
}

/// A batch Job has no retries where all begin anew together: the job has.
#[test]
fn a_launcher_that_is_never_restarted_by_itself_is_with_all() {
    let mut story = started(|spec| {
        spec["runPolicy"] = json!({"restartScope": "Job", "backoffLimit": 3});
        spec["mpiReplicaSpecs"]["Launcher"]["restartPolicy"] = json!("Never");
    });
    story.when("mpirun fails", |w| {
        w.end("j-launcher", "main", 1, "Error", None);
        gives_up(w);
    });
    assert!(!is(&story, ConditionType::Failed), "{}", story.tale);
    assert_eq!(story.world.status().whole_restarts.unwrap().count, 1);
}

/// A worker is missing, and so is a container of the launcher: is that mpirun's failure?
#[test]
fn a_launcher_is_begun_anew_for_its_own_failures_only() {
    let ended = |exit_code| ContainerState::Terminated {
        exit_code,
        reason: None,
        message: None,
        finished_at: None,
    };
    let waits = || ContainerState::Waiting {
        reason: "ContainerCreating".into(),
        message: None,
    };
    for (state, anew) in [(ended(0), false), (ended(1), true), (waits(), false)] {
        let mut story = started(|_| {});
        story.when("a worker is killed", |w| {
            w.end("j-worker-1", "main", 137, "Error", None);
            w.pod("j-launcher").detail = Some(Box::new(PodDetail {
                containers: vec![ContainerView {
                    name: "main".into(),
                    init: false,
                    state: state.clone(),
                }],
                ..PodDetail::default()
            }));
        });
        story.when("what goes is gone", World::reap);
        story.when("all run", World::run_all);
        assert_eq!(launchers(&story) == 2, anew, "{state:?} {}", story.tale);
    }
}

#[test]
fn a_launcher_that_fails_in_vain_is_named_if_nobody_else_failed() {
    let mut story = Story::new(&FRAMEWORK, ROLES, edited(|_| {}));
    story.when("applied", |_| {});
    story.when("the launcher fails before the workers run", |w| {
        w.end("j-launcher", "main", 255, "Error", None);
        gives_up(w);
    });
    let status = story.world.status();
    let restarting = status::condition(&status, ConditionType::Restarting).unwrap();
    let message = restarting.message.as_deref().unwrap();
    assert!(message.contains("1 Launcher replica(s) failed"), "{message}");
}

/// Between a batch Job and its pod there is a moment.
#[test]
fn a_launcher_whose_pod_is_not_made_yet_is_counted_in_its_gang() {
    let mut story = Story::new(&FRAMEWORK, ROLES, edited(|_| {}));
    story.world.settings.gang = Gang::Native;
    story.when("applied", |_| {});
    assert_eq!(
        story.world.pod_group().unwrap().spec,
        json!({"schedulingPolicy": {"gang": {"minCount": 3}}})
    );
    story.world.batch_pods.clear();
    let plan = story.world.plan(&FRAMEWORK);
    let changes = |write: &Write| matches!(write, Write::ChangeChild { .. });
    assert!(!plan.writes.iter().any(changes), "{plan:?}");
}

#[test]
fn a_launcher_that_its_batch_job_has_left_behind_still_lives_while_it_goes() {
    let mut story = started(|spec| spec["runPolicy"] = json!({"suspend": false}));
    story.when("suspended", |w| w.edit("/runPolicy/suspend", json!(true)));
    story.when("its batch Job is gone before its pod", |w| {
        w.batch_jobs.clear();
        w.pods.clear();
    });
    let active = |role: &str| story.world.status().replica_statuses[role].active;
    assert_eq!(story.world.batch_pods.len(), 1, "{}", story.tale);
    assert_eq!((active("Launcher"), active("Worker")), (1, 0), "{}", story.tale);
}

/// Its controller gets its say first: only a pod that would hold the batch Job up for ever is taken away by force.
#[test]
fn a_launcher_on_a_lost_node_is_left_to_its_batch_job_first() {
    let policy = |spec: &mut Value| spec["runPolicy"] = json!({"suspend": false});
    let mut story = Story::new(&FRAMEWORK, ROLES, edited(policy));
    story.world.nodes = 3;
    story.when("applied", |_| {});
    story.when("all pods run", World::run_all);
    let node = story.world.pod("j-launcher").node.clone().unwrap();
    story.world.lose_node(&node);
    story.world.pass_time(400);
    let pod = story.world.pod("j-launcher").uid.clone();
    for suspend in [false, true] {
        story.world.edit("/runPolicy/suspend", json!(suspend));
        let writes = story.world.plan(&FRAMEWORK).writes;
        let of_pod = |write: &Write| matches!(write, Write::DeletePod { uid, .. } if *uid == pod);
        assert!(!writes.iter().any(of_pod), "{writes:?}");
        let of_job = |write: &Write| matches!(write, Write::DeleteBatchJob { .. });
        assert!(writes.iter().any(of_job), "{writes:?}");
    }
}
