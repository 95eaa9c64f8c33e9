//! Upstream's own table of states (training-operator 1.9, `pkg/controller.v1/tensorflow/status_test.go`), and the states
//! in which its reconciler was seen to answer badly, with our answers. Where the two differ it says why.

use common::api::ConditionType::{self, Failed, Restarting, Running, Succeeded};
use common::conditions;
use common::testing::{World, manifest};
use serde_json::json;
use tfjob::FRAMEWORK;

use Pod::{Ended, Goes, Runs, Waits};

/// What a pod is doing: running, ended with a code, or still waiting.
#[derive(Debug, Clone, Copy)]
enum Pod {
    Runs,
    Ended(i32),
    Waits,
    /// Being deleted while it runs.
    Goes,
}
const OK: Pod = Ended(0);
const BAD: Pod = Ended(1);

struct Row {
    what: &'static str,
    /// Role and its pods.
    pods: &'static [(&'static str, &'static [Pod])],
    success_policy: &'static str,
    restart_policy: &'static str,
    dynamic: bool,
    /// Conditions that are True beside Created.
    expected: &'static [ConditionType],
}

const ROW: Row = Row {
    what: "",
    pods: &[],
    success_policy: "",
    restart_policy: "Never",
    dynamic: false,
    expected: &[],
};

/// The true conditions after the first look at these pods; what is replaced has not gone yet.
fn answer(row: &Row) -> Vec<ConditionType> {
    let counts: Vec<(&str, u32)> = row
        .pods
        .iter()
        .map(|(role, pods)| (*role, u32::try_from(pods.len()).unwrap()))
        .collect();
    let mut manifest = manifest(&FRAMEWORK, "j", &counts);
    let spec = &mut manifest["spec"];
    spec["successPolicy"] = json!(row.success_policy);
    spec["enableDynamicWorker"] = json!(row.dynamic);
    for (role, _) in &counts {
        spec["tfReplicaSpecs"][*role]["restartPolicy"] = json!(row.restart_policy);
    }
    let mut world = World::new(&FRAMEWORK, &manifest);
    world.settle(&FRAMEWORK);
    for (role, pods) in row.pods {
        for (i, pod) in pods.iter().enumerate() {
            let name = format!("j-{}-{i}", role.to_lowercase());
            match pod {
                Waits => {}
                Runs => world.run(&[&name]),
                Ended(code) => world.end(&name, "tensorflow", *code, "Error", None),
                Goes => {
                    world.run(&[&name]);
                    world.delete(&name);
                }
            }
        }
    }
    world.settle(&FRAMEWORK);
    let status = world.status();
    let all = [Running, Restarting, Succeeded, Failed];
    assert_eq!(
        status.completion_time.is_some(),
        conditions::is_finished(&status),
        "{}: every end has its time",
        row.what
    );
    all.into_iter()
        .filter(|c| conditions::is_true(&status, *c))
        .collect()
}

fn check(rows: &[Row]) {
    for row in rows {
        assert_eq!(answer(row), row.expected, "{}: {:?}", row.what, row.pods);
    }
}

#[test]
fn upstreams_table_of_states() {
    let rows = [
        Row {
            what: "chief is succeeded",
            pods: &[("Chief", &[OK])],
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            what: "chief is running",
            pods: &[("Chief", &[Runs])],
            expected: &[Running],
            ..ROW
        },
        Row {
            what: "chief is failed",
            pods: &[("Chief", &[BAD])],
            expected: &[Failed],
            ..ROW
        },
        Row {
            what: "no chief, worker is failed",
            pods: &[("Worker", &[BAD])],
            expected: &[Failed],
            ..ROW
        },
        Row {
            what: "no chief, worker is succeeded",
            pods: &[("Worker", &[OK])],
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            what: "no chief, worker is running",
            pods: &[("Worker", &[Runs])],
            expected: &[Running],
            ..ROW
        },
        Row {
            what: "no chief, 2 workers are succeeded, 2 are active",
            pods: &[("Worker", &[Runs, Runs, OK, OK]), ("PS", &[Runs, Runs])],
            expected: &[Running],
            ..ROW
        },
        Row {
            what: "no chief, 2 workers are running, 2 are failed",
            pods: &[("Worker", &[Runs, Runs, BAD, BAD]), ("PS", &[Runs, Runs])],
            expected: &[Failed],
            ..ROW
        },
        Row {
            what: "no chief, 2 workers are succeeded, 2 are failed",
            pods: &[("Worker", &[BAD, OK, OK, BAD]), ("PS", &[Runs, Runs])],
            expected: &[Failed],
            ..ROW
        },
        Row {
            what: "no chief, worker 0 is succeeded, 3 workers are active",
            pods: &[("Worker", &[OK, Runs, Runs, Runs]), ("PS", &[Runs, Runs])],
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            what: "the same, AllWorkers",
            pods: &[("Worker", &[OK, Runs, Runs, Runs]), ("PS", &[Runs, Runs])],
            success_policy: "AllWorkers",
            expected: &[Running],
            ..ROW
        },
        Row {
            what: "no chief, 4 workers are succeeded, AllWorkers",
            pods: &[("Worker", &[OK, OK, OK, OK]), ("PS", &[Runs, Runs])],
            success_policy: "AllWorkers",
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            what: "no chief, 2 workers are succeeded, 1 runs, 1 is failed, AllWorkers",
            pods: &[("Worker", &[OK, OK, Runs, BAD]), ("PS", &[Runs, Runs])],
            success_policy: "AllWorkers",
            expected: &[Failed],
            ..ROW
        },
        Row {
            // Upstream's table says Running, since it only asks whether there is such a condition; Failed is True.
            what: "chief is running, workers are failed",
            pods: &[("Chief", &[Runs]), ("Worker", &[BAD, BAD, BAD, BAD])],
            expected: &[Failed],
            ..ROW
        },
        Row {
            what: "chief is running, workers are succeeded",
            pods: &[("Chief", &[Runs]), ("Worker", &[OK, OK, OK, OK])],
            expected: &[Running],
            ..ROW
        },
        Row {
            what: "chief is running, a ps is failed",
            pods: &[("Chief", &[Runs]), ("Worker", &[Runs]), ("PS", &[Runs, BAD])],
            expected: &[Failed],
            ..ROW
        },
        Row {
            what: "chief is failed, workers are succeeded",
            pods: &[("Chief", &[BAD]), ("Worker", &[OK, OK, OK, OK])],
            expected: &[Failed],
            ..ROW
        },
        Row {
            // Upstream: Failed is True as well.
            what: "chief is succeeded, workers are failed",
            pods: &[("Chief", &[OK]), ("Worker", &[BAD, BAD, BAD, BAD])],
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            what: "chief is failed and restarting",
            pods: &[("Chief", &[Ended(130)])],
            restart_policy: "ExitCode",
            expected: &[Restarting],
            ..ROW
        },
    ];
    assert_eq!(rows.len(), 19);
    check(&rows);
}

/// States in which upstream's reconciler 1.9.3 was run; where it answers badly, its answer is told.
#[test]
fn traps() {
    let rows = [
        Row {
            what: "T1: worker 0 is done",
            pods: &[("PS", &[Runs]), ("Worker", &[OK, Runs])],
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            // Upstream: Running, though the parameter server waits.
            what: "T1b: only worker 1 is done",
            pods: &[("PS", &[Waits]), ("Worker", &[Runs, OK])],
            ..ROW
        },
        Row {
            what: "T1b, with its parameter server",
            pods: &[("PS", &[Runs]), ("Worker", &[Runs, OK])],
            expected: &[Running],
            ..ROW
        },
        Row {
            what: "T2: AllWorkers, worker 0 is done",
            pods: &[("PS", &[Runs]), ("Worker", &[OK, Runs])],
            success_policy: "AllWorkers",
            expected: &[Running],
            ..ROW
        },
        Row {
            what: "T2: AllWorkers, all are done",
            pods: &[("PS", &[Waits]), ("Worker", &[OK, OK])],
            success_policy: "AllWorkers",
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            what: "T3: the success policy is not asked where there is a chief",
            pods: &[("Chief", &[OK]), ("Worker", &[Runs]), ("Evaluator", &[Waits])],
            success_policy: "AllWorkers",
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            what: "T3b: the chief waits",
            pods: &[("Chief", &[Waits]), ("Worker", &[Runs])],
            ..ROW
        },
        Row {
            what: "T4: an evaluator fails",
            pods: &[("Chief", &[Runs]), ("Worker", &[Waits]), ("Evaluator", &[BAD])],
            expected: &[Failed],
            ..ROW
        },
        Row {
            // Upstream makes and deletes ps-0 for ever.
            what: "T5: no parameter servers",
            pods: &[("PS", &[]), ("Worker", &[Runs])],
            expected: &[Running],
            ..ROW
        },
        Row {
            // Upstream: Succeeded at once.
            what: "T5b: no workers",
            pods: &[("PS", &[Runs]), ("Worker", &[])],
            expected: &[Running],
            ..ROW
        },
        Row {
            // Upstream: Succeeded at once.
            what: "T5c: no chief",
            pods: &[("Chief", &[]), ("Worker", &[Runs])],
            expected: &[Running],
            ..ROW
        },
        Row {
            what: "T6b: a mistake under ExitCode",
            pods: &[("PS", &[Waits]), ("Worker", &[BAD])],
            restart_policy: "ExitCode",
            expected: &[Failed],
            ..ROW
        },
        Row {
            what: "T7: a dynamic worker fails",
            pods: &[("PS", &[Runs]), ("Worker", &[Runs, BAD])],
            dynamic: true,
            expected: &[Running],
            ..ROW
        },
        Row {
            // Upstream: no condition at all.
            what: "T8: parameter servers alone run",
            pods: &[("PS", &[Runs])],
            expected: &[Running],
            ..ROW
        },
        Row {
            // Upstream: no condition at all.
            what: "T8: parameter servers alone have ended",
            pods: &[("PS", &[OK])],
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            // Upstream: Running in the next pass, before the replacement runs.
            what: "T9: a worker fails under OnFailure",
            pods: &[("PS", &[Runs]), ("Worker", &[Runs, BAD])],
            restart_policy: "OnFailure",
            expected: &[Restarting],
            ..ROW
        },
        Row {
            what: "T10: a worker fails under Never",
            pods: &[("PS", &[Waits]), ("Worker", &[Runs, BAD])],
            expected: &[Failed],
            ..ROW
        },
        Row {
            // Upstream: Succeeded and Failed.
            what: "T11: worker 0 is done, worker 1 has failed",
            pods: &[("PS", &[Waits]), ("Worker", &[OK, BAD])],
            expected: &[Succeeded],
            ..ROW
        },
        Row {
            // Upstream: Failed, as under every policy.
            what: "a worker is deleted while it runs, Never",
            pods: &[("PS", &[Runs]), ("Worker", &[Runs, Goes])],
            expected: &[Restarting],
            ..ROW
        },
        Row {
            what: "the same, OnFailure",
            pods: &[("PS", &[Runs]), ("Worker", &[Runs, Goes])],
            restart_policy: "OnFailure",
            expected: &[Restarting],
            ..ROW
        },
        Row {
            what: "the same, ExitCode",
            pods: &[("PS", &[Runs]), ("Worker", &[Runs, Goes])],
            restart_policy: "ExitCode",
            expected: &[Restarting],
            ..ROW
        },
        Row {
            what: "an evaluator alone",
            pods: &[("Evaluator", &[Runs])],
            expected: &[Running],
            ..ROW
        },
        Row {
            what: "nothing at all",
            pods: &[("Worker", &[])],
            ..ROW
        },
    ];
    check(&rows);
}

fn world(replicas: &[(&str, u32)], edit: impl FnOnce(&mut serde_json::Value)) -> World {
    let mut manifest = manifest(&FRAMEWORK, "j", replicas);
    edit(&mut manifest["spec"]);
    let mut world = World::new(&FRAMEWORK, &manifest);
    world.settle(&FRAMEWORK);
    world.run_all();
    world.settle(&FRAMEWORK);
    world
}

/// T6: upstream forgets completionTime after a restart and so never deletes the job.
#[test]
fn a_job_that_restarted_and_then_failed_is_deleted_in_time() {
    let mut world = world(&[("PS", 1), ("Worker", 1)], |spec| {
        spec["runPolicy"] = json!({"ttlSecondsAfterFinished": 100});
        spec["tfReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    });
    for code in [130, 1] {
        world.end("j-worker-0", "tensorflow", code, "Error", None);
        world.settle(&FRAMEWORK);
    }
    let status = world.status();
    assert!(conditions::is_true(&status, Failed) && status.completion_time.is_some());
    assert!(
        conditions::condition(&status, Restarting).is_none(),
        "nothing stale beside it"
    );
    world.pass_time(100);
    world.settle(&FRAMEWORK);
    assert!(world.job.is_none());
}

/// T12: an end is an end, whoever suspends the job afterwards.
#[test]
fn a_finished_job_cannot_be_suspended() {
    let mut world = world(&[("Worker", 1)], |spec| {
        spec["runPolicy"] = json!({"suspend": false});
    });
    world.end("j-worker-0", "tensorflow", 0, "Completed", None);
    world.settle(&FRAMEWORK);
    world.edit("/runPolicy/suspend", json!(true));
    assert!(world.settle(&FRAMEWORK).is_empty());
    assert!(conditions::is_true(&world.status(), Succeeded));
}

/// T13: upstream fails a job whose side-car failed after the training had ended well.
#[test]
fn a_failing_side_car_fails_nothing() {
    let mut world = world(&[("Worker", 1)], |spec| {
        spec["tfReplicaSpecs"]["Worker"]["restartPolicy"] = json!("ExitCode");
    });
    world.end("j-worker-0", "tensorflow", 0, "Completed", None);
    world.pod("j-worker-0").phase = common::observe::Phase::Failed;
    world.settle(&FRAMEWORK);
    assert!(conditions::is_true(&world.status(), Succeeded));
}
