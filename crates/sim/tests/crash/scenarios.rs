//! Scenarios that every kind must survive, at whichever write the operator dies.

use std::time::Duration;

use common::KindInfo;
use common::gang::{Gang, PodGroupApi};
use common::kind::Workload;
use runtime::GangChoice;
use serde_json::{Value, json};

use sim::cluster::Setup;
use sim::kubernetes::{self, set_node};
use sim::ops::DeleteOptions;
use sim::scenario::{Scenario, Steps, TestJob, pod_key};
use sim::store::Who;
use sim::value::{self, phase};

fn any(_: &KindInfo) -> bool {
    true
}

fn usual(_: &KindInfo, _: &mut Value) {}

/// True if batch Jobs carry a role: they have their own rules about restarts.
fn by_batch_job(info: &KindInfo) -> bool {
    info.roles.iter().any(|role| role.workload == Workload::BatchJob)
}

/// Failed pods are replaced if their exit code says so, three times at most.
fn replaced(info: &KindInfo, manifest: &mut Value) {
    manifest["spec"]["runPolicy"]["backoffLimit"] = json!(3);
    if by_batch_job(info) {
        return;
    }
    if let Some(roles) = manifest["spec"][info.replicas_field].as_object_mut() {
        roles
            .values_mut()
            .for_each(|role| role["restartPolicy"] = json!("ExitCode"));
    }
}

fn together(info: &KindInfo, manifest: &mut Value) {
    replaced(info, manifest);
    manifest["spec"]["runPolicy"]["restartScope"] = json!("Job");
}

fn scaled(info: &KindInfo) -> bool {
    info.scaled_role.is_some()
}

macro_rules! steps {
    ($test_job:ident, $body:block) => {
        |$test_job: TestJob| Box::pin(async move { $body })
    };
}

fn scenario(name: &'static str, steps: Steps) -> Scenario {
    Scenario {
        name,
        applies: any,
        manifest: usual,
        setup: Setup::default(),
        gang: GangChoice::Fixed(Gang::None),
        steps,
    }
}

/// All scenarios.
#[must_use]
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = lives();
    all.extend(failures());
    all.extend(changes());
    all.extend(gangs());
    all
}

/// Whole lives of jobs.
fn lives() -> Vec<Scenario> {
    vec![
        scenario("create", steps!(t, { t.runs().await })),
        scenario(
            "run to success",
            steps!(t, {
                t.runs().await;
                t.finish().await;
                t.ends().await;
            }),
        ),
        Scenario {
            manifest: |_, m| m["spec"]["runPolicy"]["cleanPodPolicy"] = json!("Running"),
            ..scenario(
                "clean-up of what runs",
                steps!(t, {
                    t.runs().await;
                    t.to_first(|store, key| kubernetes::fail(store, key, 0, None));
                    tokio::time::sleep(Duration::from_secs(20)).await;
                    t.finish().await;
                    t.ends().await;
                }),
            )
        },
        Scenario {
            manifest: |_, m| m["spec"]["runPolicy"]["cleanPodPolicy"] = json!("All"),
            ..scenario(
                "clean-up of all",
                steps!(t, {
                    t.runs().await;
                    t.finish().await;
                    t.ends().await;
                }),
            )
        },
        Scenario {
            manifest: |_, m| m["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = json!(20),
            ..scenario(
                "time to live",
                steps!(t, {
                    t.runs().await;
                    t.finish().await;
                    t.until("it is gone", |t| t.job().is_null() && t.pods().is_empty())
                        .await;
                }),
            )
        },
        Scenario {
            manifest: |_, m| m["spec"]["runPolicy"]["activeDeadlineSeconds"] = json!(30),
            ..scenario(
                "deadline",
                steps!(t, {
                    t.runs().await;
                    t.ends().await;
                }),
            )
        },
        scenario(
            "delete",
            steps!(t, {
                t.runs().await;
                delete(&t);
                t.until("all is gone", |t| t.job().is_null() && t.pods().is_empty())
                    .await;
            }),
        ),
        scenario(
            "delete and create again at once",
            steps!(t, {
                t.runs().await;
                delete(&t);
                let mut manifest = common::testing::whole(t.framework, 2);
                manifest["metadata"]["annotations"] = json!({"incarnation": "2"});
                t.shared.create(t.resource(), &manifest);
                tokio::time::sleep(Duration::from_secs(5)).await;
                t.runs().await;
                t.finish().await;
                t.ends().await;
            }),
        ),
    ]
}

fn delete(t: &TestJob) {
    let options = DeleteOptions {
        propagation: Some("Background".to_owned()),
        ..DeleteOptions::default()
    };
    let deleted = t
        .shared
        .store(|store| store.delete(Who::User, &t.key(), &options));
    assert!(deleted.is_ok(), "{deleted:?}");
}

/// Failures and disruptions of pods.
fn failures() -> Vec<Scenario> {
    vec![
        Scenario {
            manifest: replaced,
            ..scenario(
                "fail and restart",
                steps!(t, {
                    t.runs().await;
                    t.to_last(|store, key| kubernetes::fail(store, key, 137, None));
                    t.goes_on().await;
                }),
            )
        },
        Scenario {
            manifest: together,
            ..scenario(
                "all restart",
                steps!(t, {
                    t.runs().await;
                    t.to_last(|store, key| kubernetes::fail(store, key, 137, None));
                    t.goes_on().await;
                }),
            )
        },
        Scenario {
            manifest: replaced,
            ..scenario(
                "fail beyond the limit",
                steps!(t, {
                    for _ in 0..4 {
                        t.runs().await;
                        t.to_last(|store, key| kubernetes::fail(store, key, 137, None));
                        tokio::time::sleep(Duration::from_secs(2)).await;
                    }
                    t.ends().await;
                }),
            )
        },
        Scenario {
            manifest: replaced,
            ..scenario(
                "two fail at once",
                steps!(t, {
                    t.runs().await;
                    let keys: Vec<_> = t.pods().iter().rev().take(2).map(|pod| pod_key(pod)).collect();
                    t.shared.store(|store| {
                        for key in &keys {
                            kubernetes::fail(store, key, 137, None);
                        }
                    });
                    t.goes_on().await;
                }),
            )
        },
        scenario(
            "taken away",
            steps!(t, {
                t.runs().await;
                t.to_last(|store, key| {
                    let _ = store.delete(Who::User, key, &DeleteOptions::default());
                });
                t.goes_on().await;
            }),
        ),
        scenario(
            "evicted",
            steps!(t, {
                t.runs().await;
                t.to_last(|store, key| kubernetes::fail(store, key, 137, Some("EvictionByEvictionAPI")));
                t.goes_on().await;
            }),
        ),
        scenario(
            "node lost",
            steps!(t, {
                t.runs().await;
                let node = t.node();
                t.shared.store(|store| set_node(store, &node, false));
                tokio::time::sleep(Duration::from_secs(35)).await;
                t.until("it runs elsewhere", |t| {
                    let lives =
                        |pod: &Value| phase(pod) == "Running" && value::text(pod, "/spec/nodeName") != node;
                    t.pods().iter().filter(|pod| lives(pod)).count() >= t.wanted()
                        && value::is_true(&t.job(), "Running")
                })
                .await;
                t.shared.store(|store| set_node(store, &node, true));
                t.finish().await;
                t.ends().await;
            }),
        ),
        Scenario {
            applies: by_batch_job,
            ..scenario(
                "launcher is tried again",
                steps!(t, {
                    t.runs().await;
                    t.to_first(|store, key| kubernetes::fail(store, key, 1, None));
                    t.goes_on().await;
                }),
            )
        },
        Scenario {
            applies: |info| info.roles.iter().any(|role| role.depends_on.is_some()),
            manifest: replaced,
            ..scenario(
                "launcher fails with its worker",
                steps!(t, {
                    t.runs().await;
                    t.to_last(|store, key| kubernetes::fail(store, key, 137, None));
                    t.to_first(|store, key| kubernetes::fail(store, key, 137, None));
                    t.goes_on().await;
                }),
            )
        },
    ]
}

/// Edits by the user.
fn changes() -> Vec<Scenario> {
    vec![
        Scenario {
            applies: scaled,
            ..scenario(
                "scale up",
                steps!(t, {
                    t.runs().await;
                    t.scale(4);
                    t.runs().await;
                    t.finish().await;
                    t.ends().await;
                }),
            )
        },
        Scenario {
            applies: scaled,
            ..scenario(
                "scale down and up",
                steps!(t, {
                    t.runs().await;
                    t.scale(1);
                    t.until("one is gone", |t| t.pods().len() == t.wanted()).await;
                    t.scale(2);
                    t.runs().await;
                    t.finish().await;
                    t.ends().await;
                }),
            )
        },
        scenario(
            "suspend",
            steps!(t, {
                t.runs().await;
                t.edit("/runPolicy/suspend", json!(true));
                t.until("it is suspended", |t| {
                    t.has_no_pods() && value::is_true(&t.job(), "Suspended")
                })
                .await;
            }),
        ),
        scenario(
            "suspend and resume",
            steps!(t, {
                t.runs().await;
                t.edit("/runPolicy/suspend", json!(true));
                t.until("it is suspended", |t| {
                    t.has_no_pods() && value::is_true(&t.job(), "Suspended")
                })
                .await;
                t.edit("/runPolicy/suspend", json!(false));
                t.runs().await;
                t.finish().await;
                t.ends().await;
            }),
        ),
        Scenario {
            manifest: |_, m| m["spec"]["runPolicy"]["suspend"] = json!(true),
            ..scenario(
                "begin suspended",
                steps!(t, {
                    t.until("it is suspended", |t| value::is_true(&t.job(), "Suspended"))
                        .await;
                    t.edit("/runPolicy/suspend", json!(false));
                    t.runs().await;
                    t.finish().await;
                    t.ends().await;
                }),
            )
        },
    ]
}

/// Gangs.
fn gangs() -> Vec<Scenario> {
    let served = |api| Setup {
        pod_groups: vec![api],
        ..Setup::default()
    };
    let steps: Steps = steps!(t, {
        t.runs().await;
        t.to_last(|store, key| {
            let _ = store.delete(Who::User, key, &DeleteOptions::default());
        });
        tokio::time::sleep(Duration::from_secs(2)).await;
        t.runs().await;
        t.edit("/runPolicy/suspend", json!(true));
        t.until("it is suspended", |t| {
            t.has_no_pods() && value::is_true(&t.job(), "Suspended")
        })
        .await;
        t.edit("/runPolicy/suspend", json!(false));
        t.runs().await;
        t.finish().await;
        t.ends().await;
    });
    vec![
        Scenario {
            setup: served(PodGroupApi::Native),
            gang: GangChoice::Auto,
            ..scenario("gang of Kubernetes", steps)
        },
        Scenario {
            setup: served(PodGroupApi::Volcano),
            gang: GangChoice::Fixed(Gang::Volcano),
            ..scenario("gang of Volcano", steps)
        },
        Scenario {
            setup: served(PodGroupApi::Coscheduling),
            gang: GangChoice::Fixed(Gang::Coscheduling {
                scheduler: "my-sched".to_owned(),
            }),
            ..scenario("gang of the scheduler-plugins", steps)
        },
    ]
}
