//! The stories that every kind must survive, whenever the operator dies in them.

use std::time::Duration;

use common::KindInfo;
use common::gang::{Gang, PodGroupApi};
use common::kind::Workload;
use runtime::GangChoice;
use serde_json::{Value, json};

use sim::cluster::Setup;
use sim::kubernetes::{self, set_node};
use sim::ops::DeleteOptions;
use sim::store::Who;
use sim::story::{Script, Story, Teller, pod_key};
use sim::value::{self, phase};

fn any(_: &KindInfo) -> bool {
    true
}

fn usual(_: &KindInfo, _: &mut Value) {}

/// A role that is carried by batch Jobs has rules of its own about restarts.
fn by_batch_job(info: &KindInfo) -> bool {
    info.roles.iter().any(|role| role.workload == Workload::BatchJob)
}

/// Failed pods are replaced if their exit code says so, thrice at most.
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

macro_rules! script {
    ($teller:ident, $body:block) => {
        |$teller: Teller| Box::pin(async move { $body })
    };
}

fn story(name: &'static str, script: Script) -> Story {
    Story {
        name,
        applies: any,
        manifest: usual,
        setup: Setup::default(),
        gang: GangChoice::Fixed(Gang::None),
        script,
    }
}

/// All of them.
#[must_use]
pub(crate) fn all() -> Vec<Story> {
    let mut all = lives();
    all.extend(failures());
    all.extend(changes());
    all.extend(gangs());
    all
}

/// From the beginning to the end.
fn lives() -> Vec<Story> {
    vec![
        story("create", script!(t, { t.runs().await })),
        story(
            "run to success",
            script!(t, {
                t.runs().await;
                t.finish().await;
                t.ends().await;
            }),
        ),
        Story {
            manifest: |_, m| m["spec"]["runPolicy"]["cleanPodPolicy"] = json!("Running"),
            ..story(
                "clean-up of what runs",
                script!(t, {
                    t.runs().await;
                    t.to_first(|store, key| kubernetes::fail(store, key, 0, None));
                    tokio::time::sleep(Duration::from_secs(20)).await;
                    t.finish().await;
                    t.ends().await;
                }),
            )
        },
        Story {
            manifest: |_, m| m["spec"]["runPolicy"]["cleanPodPolicy"] = json!("All"),
            ..story(
                "clean-up of all",
                script!(t, {
                    t.runs().await;
                    t.finish().await;
                    t.ends().await;
                }),
            )
        },
        Story {
            manifest: |_, m| m["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = json!(20),
            ..story(
                "time to live",
                script!(t, {
                    t.runs().await;
                    t.finish().await;
                    t.until("it is gone", |t| t.job().is_null() && t.pods().is_empty())
                        .await;
                }),
            )
        },
        Story {
            manifest: |_, m| m["spec"]["runPolicy"]["activeDeadlineSeconds"] = json!(30),
            ..story(
                "deadline",
                script!(t, {
                    t.runs().await;
                    t.ends().await;
                }),
            )
        },
        story(
            "delete",
            script!(t, {
                t.runs().await;
                delete(&t);
                t.until("all is gone", |t| t.job().is_null() && t.pods().is_empty())
                    .await;
            }),
        ),
        story(
            "delete and create again at once",
            script!(t, {
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

fn delete(t: &Teller) {
    let options = DeleteOptions {
        propagation: Some("Background".to_owned()),
        ..DeleteOptions::default()
    };
    let deleted = t
        .shared
        .store(|store| store.delete(Who::User, &t.key(), &options));
    assert!(deleted.is_ok(), "{deleted:?}");
}

/// Pods fail, or are taken away.
fn failures() -> Vec<Story> {
    vec![
        Story {
            manifest: replaced,
            ..story(
                "fail and restart",
                script!(t, {
                    t.runs().await;
                    t.to_last(|store, key| kubernetes::fail(store, key, 137, None));
                    t.goes_on().await;
                }),
            )
        },
        Story {
            manifest: together,
            ..story(
                "all restart",
                script!(t, {
                    t.runs().await;
                    t.to_last(|store, key| kubernetes::fail(store, key, 137, None));
                    t.goes_on().await;
                }),
            )
        },
        Story {
            manifest: replaced,
            ..story(
                "fail beyond the limit",
                script!(t, {
                    for _ in 0..4 {
                        t.runs().await;
                        t.to_last(|store, key| kubernetes::fail(store, key, 137, None));
                        tokio::time::sleep(Duration::from_secs(2)).await;
                    }
                    t.ends().await;
                }),
            )
        },
        Story {
            manifest: replaced,
            ..story(
                "two fail at once",
                script!(t, {
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
        story(
            "taken away",
            script!(t, {
                t.runs().await;
                t.to_last(|store, key| {
                    let _ = store.delete(Who::User, key, &DeleteOptions::default());
                });
                t.goes_on().await;
            }),
        ),
        story(
            "evicted",
            script!(t, {
                t.runs().await;
                t.to_last(|store, key| kubernetes::fail(store, key, 137, Some("EvictionByEvictionAPI")));
                t.goes_on().await;
            }),
        ),
        story(
            "node lost",
            script!(t, {
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
        Story {
            applies: by_batch_job,
            ..story(
                "launcher is tried again",
                script!(t, {
                    t.runs().await;
                    t.to_first(|store, key| kubernetes::fail(store, key, 1, None));
                    t.goes_on().await;
                }),
            )
        },
        Story {
            applies: |info| info.roles.iter().any(|role| role.needs.is_some()),
            manifest: replaced,
            ..story(
                "launcher fails with its worker",
                script!(t, {
                    t.runs().await;
                    t.to_last(|store, key| kubernetes::fail(store, key, 137, None));
                    t.to_first(|store, key| kubernetes::fail(store, key, 137, None));
                    t.goes_on().await;
                }),
            )
        },
    ]
}

/// The user changes his mind.
fn changes() -> Vec<Story> {
    vec![
        Story {
            applies: scaled,
            ..story(
                "scale up",
                script!(t, {
                    t.runs().await;
                    t.scale(4);
                    t.runs().await;
                    t.finish().await;
                    t.ends().await;
                }),
            )
        },
        Story {
            applies: scaled,
            ..story(
                "scale down and up",
                script!(t, {
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
        story(
            "suspend",
            script!(t, {
                t.runs().await;
                t.edit("/runPolicy/suspend", json!(true));
                t.until("it is suspended", |t| {
                    t.has_no_pods() && value::is_true(&t.job(), "Suspended")
                })
                .await;
            }),
        ),
        story(
            "suspend and resume",
            script!(t, {
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
        Story {
            manifest: |_, m| m["spec"]["runPolicy"]["suspend"] = json!(true),
            ..story(
                "begin suspended",
                script!(t, {
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

/// Pods are placed all together.
fn gangs() -> Vec<Story> {
    let served = |api| Setup {
        pod_groups: vec![api],
        ..Setup::default()
    };
    let script: Script = script!(t, {
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
        Story {
            setup: served(PodGroupApi::Native),
            gang: GangChoice::Auto,
            ..story("gang of Kubernetes", script)
        },
        Story {
            setup: served(PodGroupApi::Volcano),
            gang: GangChoice::Fixed(Gang::Volcano),
            ..story("gang of Volcano", script)
        },
        Story {
            setup: served(PodGroupApi::Coscheduling),
            gang: GangChoice::Fixed(Gang::Coscheduling {
                scheduler: "my-sched".to_owned(),
            }),
            ..story("gang of the scheduler-plugins", script)
        },
    ]
}
