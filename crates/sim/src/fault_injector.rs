//! Fault injector: changes pods, jobs, nodes, watches and clocks in ways that the operator must handle.

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

/// Label of objects that belong to nobody but the fault injector.
const FOREIGN: &str = "foreign";
/// Label under which the fault injector keeps the operator label that it has removed.
const KEPT: &str = "kept";

/// One sort of fault.
#[derive(Debug, Clone, Copy)]
enum ClusterFault {
    EndPod,
    RestartContainers,
    EvictPod,
    DeletePod,
    RelabelPod,
    AnnotatePod,
    CreateForeignObject,
    ChangeNode,
    EditJob,
    DeleteJob,
    DeleteChild,
    DisturbWatches,
    ForgetHistory,
    SetClock,
    KillOperator,
    CutOffOperator,
}

/// Faults with their weights.
const CLUSTER_FAULTS: [(ClusterFault, usize); 16] = [
    (ClusterFault::EndPod, 5),
    (ClusterFault::RestartContainers, 1),
    (ClusterFault::EvictPod, 1),
    (ClusterFault::DeletePod, 2),
    (ClusterFault::RelabelPod, 1),
    (ClusterFault::AnnotatePod, 1),
    (ClusterFault::CreateForeignObject, 1),
    (ClusterFault::ChangeNode, 2),
    (ClusterFault::EditJob, 2),
    (ClusterFault::DeleteJob, 1),
    (ClusterFault::DeleteChild, 1),
    (ClusterFault::DisturbWatches, 3),
    (ClusterFault::ForgetHistory, 1),
    (ClusterFault::SetClock, 1),
    (ClusterFault::KillOperator, 1),
    (ClusterFault::CutOffOperator, 2),
];

impl ClusterFault {
    /// Random fault, by weight.
    fn random(rng: &mut Rng) -> Self {
        let all: Vec<Self> = CLUSTER_FAULTS
            .iter()
            .flat_map(|(fault, weight)| std::iter::repeat_n(*fault, *weight))
            .collect();
        *rng.pick(&all)
    }
}

/// The fault injector of one chaos run.
pub struct FaultInjector {
    /// Cluster.
    pub shared: Shared,
    /// Job.
    pub job: Key,
    /// Kind of the job.
    pub framework: &'static dyn Framework,
    /// Clock of the operators.
    pub clock: WallClock,
    /// Record of faults.
    pub log: FaultLog,
    /// Connections of the operators.
    pub links: Arc<Mutex<Vec<Option<Link>>>>,
    /// Manifest from which the job was created.
    pub manifest: Value,
    /// True if there are several operators.
    pub elected: bool,
}

impl FaultInjector {
    /// Injects one random fault.
    pub fn inject(&self, rng: &mut Rng) {
        // A job that has ended shows little: often it is replaced.
        let over = self
            .shared
            .get(&self.job)
            .is_none_or(|job| !end_of(&job).is_empty());
        let what = if over && rng.per_mille(400) {
            self.replace_job()
        } else {
            self.inject_fault(ClusterFault::random(rng), rng)
        };
        self.log.note(what);
    }

    /// Injects a fault; name of what was done.
    fn inject_fault(&self, fault: ClusterFault, rng: &mut Rng) -> &'static str {
        match fault {
            ClusterFault::EndPod => self.end_pod(rng),
            ClusterFault::RestartContainers => self.to_pod(rng, "container restarted", |store, key, _| {
                restart_in_place(store, key, 1)
            }),
            ClusterFault::EvictPod => self.to_pod(rng, "pod evicted", |store, key, _| {
                fail(store, key, 137, Some("EvictionByEvictionAPI"))
            }),
            ClusterFault::DeletePod => self.delete_pod(rng),
            ClusterFault::RelabelPod => self.relabel(rng),
            ClusterFault::AnnotatePod => self.annotate_pod(rng),
            ClusterFault::CreateForeignObject => self.create_foreign_object(rng),
            ClusterFault::ChangeNode => self.change_node(rng),
            ClusterFault::EditJob => self.edit_job(rng),
            ClusterFault::DeleteJob => self.delete_job(rng),
            ClusterFault::DeleteChild => self.delete_child(rng),
            ClusterFault::DisturbWatches => self.disturb_watches(rng),
            ClusterFault::ForgetHistory => {
                self.shared.store(Store::compact);
                "history forgotten"
            }
            ClusterFault::SetClock => self.set_clock(rng),
            ClusterFault::KillOperator => self.kill_operator(rng),
            ClusterFault::CutOffOperator => self.cut_off_operator(rng),
        }
    }

    /// Repairs all faults that would keep the job from ending.
    pub fn repair(&self) {
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
                edit(store, &key, restore_label);
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
        change: impl FnOnce(&mut Store, &Key, &mut Rng),
    ) -> &'static str {
        self.shared.store(|store| {
            let pods = Self::pods(store);
            if pods.is_empty() {
                return "nothing";
            }
            let key = rng.pick(&pods).clone();
            change(store, &key, rng);
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

    fn annotate_pod(&self, rng: &mut Rng) -> &'static str {
        self.to_pod(rng, "pod changed", |store, key, rng| {
            let noise = rng.below(1000);
            edit(store, key, |pod| {
                let meta = metadata(pod);
                meta.insert("annotations".to_owned(), json!({"noise": noise.to_string()}));
            });
        })
    }

    /// Removes the operator label from a pod, or restores it.
    fn relabel(&self, rng: &mut Rng) -> &'static str {
        self.to_pod(rng, "pod relabelled", |store, key, _| {
            edit(store, key, |pod| {
                if value::label(pod, KEPT).is_some() {
                    restore_label(pod);
                } else if let Some(labels) = pod["metadata"]["labels"].as_object_mut()
                    && let Some(label) = labels.remove(names::OPERATOR_NAME)
                {
                    labels.insert(KEPT.to_owned(), label);
                }
            });
        })
    }

    /// Creates an object under a name that the job needs, if that is free.
    fn create_foreign_object(&self, rng: &mut Rng) -> &'static str {
        let roles = self.framework.kind().roles;
        let role = rng.pick(roles);
        let index = u32::try_from(rng.below(3)).unwrap_or(0);
        let (resource, kind, name) = match rng.below(3) {
            0 => (PODS, "Pod", role.replica_name("j", names::ReplicaIndex(index))),
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

    fn change_node(&self, rng: &mut Rng) -> &'static str {
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

    /// Deletes an object of the job that is no pod.
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

    fn set_clock(&self, rng: &mut Rng) -> &'static str {
        if rng.per_mille(700) {
            return "nothing";
        }
        self.clock.wrong_by(*rng.pick(&[-3600, -60, 0, 60, 3600]));
        self.shared.lock().checker.clocks_differ = true;
        "clock jumped"
    }

    fn kill_operator(&self, rng: &mut Rng) -> &'static str {
        match rng.pick(&self.links()) {
            Some(link) => {
                link.die();
                "killed"
            }
            None => "nothing",
        }
    }

    /// Cuts an operator off from the API server for a while; it may lose the lease.
    fn cut_off_operator(&self, rng: &mut Rng) -> &'static str {
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

fn restore_label(pod: &mut Value) {
    if let Some(labels) = pod["metadata"]["labels"].as_object_mut()
        && let Some(label) = labels.remove(KEPT)
    {
        labels.insert(names::OPERATOR_NAME.to_owned(), label);
    }
}
