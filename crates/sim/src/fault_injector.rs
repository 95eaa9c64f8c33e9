//! Others, who do to pods, jobs, nodes and watches what the operator must live with.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::{Framework, names};
use serde_json::{Value, json};

use crate::checker::end_of;
use crate::cluster::{NAMESPACE, Shared};
use crate::fault_log::FaultLog;
use crate::kubernetes::{end, fail, mend_nodes, restart_in_place, set_node};
use crate::link::Link;
use crate::ops::DeleteOptions;
use crate::process::WallClock;
use crate::rng::Rng;
use crate::store::{Frame, Key, Store, Who};
use crate::types::{CONFIG_MAPS, PODS, Resource, SERVICES};
use crate::value::{self, metadata};

/// Label of what is nobody's but the fault injector's.
const FOREIGN: &str = "foreign";
/// Label under which the fault injector keeps one that he has taken away.
const KEPT: &str = "kept";

/// Who meddles.
pub struct FaultInjector {
    /// Where.
    pub shared: Shared,
    /// With which job.
    pub job: Key,
    /// Of which kind it is.
    pub framework: &'static dyn Framework,
    /// The operators' clock.
    pub clock: WallClock,
    /// What he tells.
    pub log: FaultLog,
    /// The operators' connections.
    pub links: Arc<Mutex<Vec<Option<Link>>>>,
    /// The job as it was made.
    pub manifest: Value,
    /// Whether there are several operators.
    pub elected: bool,
}

impl FaultInjector {
    /// Does one thing.
    pub fn inject(&self, rng: &mut Rng) {
        // Of a job that has ended there is little to see.
        let over = self
            .shared
            .get(&self.job)
            .is_none_or(|job| !end_of(&job).is_empty());
        if over && rng.per_mille(400) {
            self.log.note(self.replace_job());
            return;
        }
        let what = match rng.below(26) {
            0..=4 => self.end_pod(rng),
            5 => self.to_pod(rng, "container restarted", |store, key, _| {
                restart_in_place(store, key, 1)
            }),
            6 => self.to_pod(rng, "pod evicted", |store, key, _| {
                fail(store, key, 137, Some("EvictionByEvictionAPI"))
            }),
            7 | 8 => self.delete_pod(rng),
            9 => self.relabel(rng),
            10 => self.to_pod(rng, "pod changed", |store, key, rng| {
                let noise = rng.below(1000);
                edit(store, key, |pod| {
                    let meta = metadata(pod);
                    meta.insert("annotations".to_owned(), json!({"noise": noise.to_string()}));
                });
            }),
            11 => self.foreign(rng),
            12 | 13 => self.node(rng),
            14 | 15 => self.edit_job(rng),
            16 => self.delete_job(rng),
            17 => self.delete_child(rng),
            18..=20 => self.disturb_watches(rng),
            21 => {
                self.shared.store(Store::compact);
                "history forgotten"
            }
            22 => self.clock_jump(rng),
            23 => self.kill(rng),
            _ => self.cut_off(rng),
        };
        self.log.note(what);
    }

    /// Puts everything right that would hold up the job for ever.
    pub fn mend(&self) {
        self.clock.wrong_by(0);
        for link in self.links().iter().flatten() {
            link.cut_off(false);
        }
        self.shared.store(|store| {
            mend_nodes(store);
            let foreign: Vec<Key> = store
                .all()
                .filter(|(_, object)| value::label(object, FOREIGN).is_some())
                .map(|(key, _)| key.clone())
                .collect();
            for key in foreign {
                store.remove(Who::User, &key);
            }
            let pods: Vec<Key> = store.list(PODS, "").map(|(key, _)| key.clone()).collect();
            for key in pods {
                edit(store, &key, give_back);
            }
            edit(store, &self.job, |job| {
                job["spec"]["runPolicy"]["suspend"] = json!(false)
            });
        });
    }

    fn links(&self) -> Vec<Option<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pods(store: &Store) -> Vec<Key> {
        let pods = store
            .list(PODS, NAMESPACE)
            .filter(|(_, pod)| value::label(pod, FOREIGN).is_none());
        pods.map(|(key, _)| key.clone()).collect()
    }

    fn to_pod(
        &self,
        rng: &mut Rng,
        what: &'static str,
        act: impl FnOnce(&mut Store, &Key, &mut Rng),
    ) -> &'static str {
        self.shared.store(|store| {
            let pods = Self::pods(store);
            if pods.is_empty() {
                return "nothing";
            }
            let key = rng.pick(&pods).clone();
            act(store, &key, rng);
            what
        })
    }

    fn end_pod(&self, rng: &mut Rng) -> &'static str {
        self.to_pod(rng, "pod ended", |store, key, rng| {
            let code = *rng.pick(&[0, 1, 137, 137, 137, 143, 143, 255]);
            if rng.per_mille(700) {
                end(store, key, code);
            } else {
                fail(store, key, code, None);
            }
        })
    }

    fn delete_pod(&self, rng: &mut Rng) -> &'static str {
        self.to_pod(rng, "pod deleted", |store, key, rng| {
            let options = DeleteOptions {
                grace: rng.per_mille(300).then_some(0),
                ..DeleteOptions::default()
            };
            let _ = store.delete(Who::User, key, &options);
        })
    }

    /// Takes a pod out of the operator's sight, or gives it back.
    fn relabel(&self, rng: &mut Rng) -> &'static str {
        self.to_pod(rng, "pod relabelled", |store, key, _| {
            edit(store, key, |pod| {
                if value::label(pod, KEPT).is_some() {
                    give_back(pod);
                } else if let Some(labels) = pod["metadata"]["labels"].as_object_mut()
                    && let Some(label) = labels.remove(names::OPERATOR_NAME)
                {
                    labels.insert(KEPT.to_owned(), label);
                }
            });
        })
    }

    /// Makes something under a name that the job needs, if that is free.
    fn foreign(&self, rng: &mut Rng) -> &'static str {
        let roles = self.framework.kind().roles;
        let role = rng.pick(roles);
        let index = u32::try_from(rng.below(3)).unwrap_or(0);
        let (resource, kind, name) = match rng.below(3) {
            0 => (PODS, "Pod", role.slot_name("j", names::ReplicaIndex(index))),
            1 => (SERVICES, "Service", names::job_service("j")),
            _ => (CONFIG_MAPS, "ConfigMap", names::config_map("j")),
        };
        self.shared.store(|store| {
            let Some(of) = store.type_of(resource) else {
                return "nothing";
            };
            let labels = json!({FOREIGN: "yes"});
            let mut object =
                json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}});
            if resource == PODS {
                object["spec"] = json!({"containers": [{"name": "main", "image": "img:1"}]});
            }
            match store.create(Who::User, &of, "v1", NAMESPACE, object) {
                Ok(_) => "foreign object made",
                Err(_) => "nothing",
            }
        })
    }

    fn node(&self, rng: &mut Rng) -> &'static str {
        let node = format!("node-{}", 1 + rng.below(3));
        let ready = rng.per_mille(500);
        self.shared.store(|store| set_node(store, &node, ready));
        if ready { "node answers" } else { "node lost" }
    }

    fn edit_job(&self, rng: &mut Rng) -> &'static str {
        let info = self.framework.kind();
        let what = rng.below(3);
        self.shared.store(|store| {
            edit(store, &self.job, |job| match (what, info.scaled_role) {
                (0, Some(role)) => {
                    job["spec"][info.replicas_field][role.0]["replicas"] = json!(1 + rng.below(4));
                }
                (1, _) => {
                    let suspend = job["spec"]["runPolicy"]["suspend"] != json!(true);
                    job["spec"]["runPolicy"]["suspend"] = json!(suspend);
                }
                _ => {
                    let noise = rng.below(1000).to_string();
                    metadata(job).insert("annotations".to_owned(), json!({"noise": noise}));
                }
            });
        });
        "job changed"
    }

    fn delete_job(&self, rng: &mut Rng) -> &'static str {
        if rng.per_mille(500) && self.shared.get(&self.job).is_some() {
            return "nothing";
        }
        if rng.per_mille(700) {
            return self.replace_job();
        }
        let options = DeleteOptions {
            propagation: Some("Foreground".to_owned()),
            ..DeleteOptions::default()
        };
        let _ = self
            .shared
            .store(|store| store.delete(Who::User, &self.job, &options));
        "job deleted"
    }

    fn replace_job(&self) -> &'static str {
        self.shared.store(|store| store.remove(Who::User, &self.job));
        self.shared.create(self.job.resource, &self.manifest);
        "job replaced"
    }

    /// Something beside the pods.
    fn delete_child(&self, rng: &mut Rng) -> &'static str {
        self.shared.store(|store| {
            let children: Vec<Key> = store
                .all()
                .filter(|(key, object)| key.resource != PODS && value::controller(object).is_some())
                .map(|(key, _)| key.clone())
                .collect();
            if children.is_empty() {
                return "nothing";
            }
            let _ = store.delete(Who::User, rng.pick(&children), &DeleteOptions::default());
            "child deleted"
        })
    }

    fn disturb_watches(&self, rng: &mut Rng) -> &'static str {
        let (frame, what) = match rng.below(4) {
            0 => (Frame::Cut(false), "watches cut"),
            1 => (Frame::Cut(true), "watches cut in the midst of a frame"),
            2 => (Frame::Stall, "watches silent"),
            _ => (Frame::Gone, "410"),
        };
        let share = *rng.pick(&[200, 500, 1000]);
        self.shared
            .store(|store| store.disturb(&frame, |_: Resource| rng.per_mille(share)));
        what
    }

    fn clock_jump(&self, rng: &mut Rng) -> &'static str {
        if rng.per_mille(700) {
            return "nothing";
        }
        self.clock.wrong_by(*rng.pick(&[-3600, -60, 0, 60, 3600]));
        self.shared.lock().checker.clocks_differ = true;
        "clock jumped"
    }

    fn kill(&self, rng: &mut Rng) -> &'static str {
        match rng.pick(&self.links()) {
            Some(link) => {
                link.die();
                "killed"
            }
            None => "nothing",
        }
    }

    /// For a while nothing of one operator arrives; long enough to lose a lease, or not.
    fn cut_off(&self, rng: &mut Rng) -> &'static str {
        let links = self.links();
        let Some(link) = rng.pick(&links).clone() else {
            return "nothing";
        };
        link.cut_off(true);
        let most = if self.elected { 60_000 } else { 20_000 };
        let pause = Duration::from_secs(2) + rng.millis(most);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            link.cut_off(false);
        });
        "cut off"
    }
}

fn edit(store: &mut Store, key: &Key, edit: impl FnOnce(&mut Value)) {
    let Some(object) = store.get(key) else { return };
    let mut object = (**object).clone();
    edit(&mut object);
    store.put(Who::User, key, object);
}

fn give_back(pod: &mut Value) {
    if let Some(labels) = pod["metadata"]["labels"].as_object_mut()
        && let Some(label) = labels.remove(KEPT)
    {
        labels.insert(names::OPERATOR_NAME.to_owned(), label);
    }
}
