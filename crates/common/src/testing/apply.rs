//! Applying plans to the world.

use super::world::view;
use super::{World, gang};
use crate::framework::Framework;
use crate::gang::PodGroupApi;
use crate::names::Uid;
use crate::objects::{ChildKind, Extra};
use crate::observe::{ChildView, Phase, PodView};
use crate::plan::{Plan, Write};

impl World {
    /// Applies a plan; returns the number of requests.
    pub fn apply(&mut self, plan: &Plan) -> usize {
        self.apply_until(plan, usize::MAX)
    }

    /// Applies the first `limit` requests of a plan; returns the number of requests.
    pub fn apply_until(&mut self, plan: &Plan, limit: usize) -> usize {
        let mut sent = 0;
        let mut alive = || {
            sent += 1;
            sent <= limit
        };
        if let Some(intent) = plan.intent.as_ref().filter(|intent| **intent != self.status()) {
            if !alive() {
                return limit;
            }
            self.store(intent);
        }
        for write in self.open(plan) {
            if !alive() {
                return limit;
            }
            self.write(write);
        }
        if let Some(status) = plan.status.as_ref().filter(|status| **status != self.status()) {
            if !alive() {
                return limit;
            }
            let vanished = self.vanished.clone();
            self.store(status);
            if plan.keeps_vanished {
                self.vanished = vanished;
            }
        }
        sent
    }

    /// Plans and applies until nothing is left to do; returns the plans that wrote something.
    ///
    /// # Panics
    /// If 20 plans are not enough.
    #[expect(clippy::panic, reason = "a law of tests")]
    pub fn settle(&mut self, framework: &dyn Framework) -> Vec<Plan> {
        let mut plans = Vec::new();
        for _ in 0..20 {
            let plan = self.plan(framework);
            if self.apply(&plan) == 0 {
                return plans;
            }
            plans.push(plan);
        }
        panic!("does not settle: {:#?}", plans.last());
    }

    /// Writes of a plan that would change something.
    #[must_use]
    pub fn open<'a>(&self, plan: &'a Plan) -> Vec<&'a Write> {
        plan.writes
            .iter()
            .filter(|write| !self.is_ensured(write))
            .collect()
    }

    /// True if an ensured object exists as wanted.
    fn is_ensured(&self, write: &Write) -> bool {
        let Write::Ensure(extra) = write else { return false };
        let (kind, name) = extra.id();
        let found = self.extras.get(&(kind, name.to_owned()));
        match extra {
            Extra::ConfigMap(_) | Extra::Role(_) => found == Some(extra),
            Extra::KeyPair(_) | Extra::ServiceAccount(_) | Extra::RoleBinding(_) => found.is_some(),
        }
    }

    /// Applies one write, whatever its preconditions.
    pub(super) fn write(&mut self, write: &Write) {
        self.serial += 1;
        let uid = Uid::new(&format!("uid-{}", self.serial));
        match write {
            Write::Ensure(extra) => {
                let (kind, name) = extra.id();
                self.extras.insert((kind, name.to_owned()), extra.clone());
            }
            Write::CreateBatchJob { attempt, job, .. } => self.create_batch_job(uid, *attempt, job),
            Write::DeleteBatchJob { name, uid } => self.delete_batch_job(name, uid),
            Write::CreateChild(child) => self.children.push(ChildView {
                kind: child.kind(),
                name: child.name().into(),
                uid,
                deleting: false,
                digest: child.digest().map(Into::into),
                pod_group: gang::view(child),
            }),
            Write::ChangeChild { to, uid } => {
                for child in self.children.iter_mut().filter(|child| child.uid == *uid) {
                    child.digest = to.digest().map(Into::into);
                }
                gang::change(&mut self.children, uid, to);
            }
            Write::DeleteChild { kind, uid, .. } => self.delete_child(*kind, uid),
            Write::DeletePod { name, uid, force } => {
                self.deleted.push(uid.clone());
                if *force {
                    self.remove_pod(uid);
                } else {
                    self.delete_pod(name, uid);
                }
            }
            Write::CreatePod { attempt, pod, .. } => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                self.created.push((name.clone(), *attempt));
                let mut made = view(&name, uid.as_str(), *attempt);
                made.gang = gang::of(&pod.metadata, pod.spec.as_ref());
                self.pods.push(made);
            }
            Write::DeleteJob { .. } => {
                self.job = None;
                self.pods.clear();
                self.children.clear();
                self.batch_jobs.clear();
                self.batch_pods.clear();
                self.extras.clear();
            }
        }
    }

    /// Deletes a Service, autoscaler or PodGroup. A PodGroup of Kubernetes' own API stays as long as pods run that belong to
    /// it.
    fn delete_child(&mut self, kind: ChildKind, uid: &Uid) {
        let held = kind == ChildKind::PodGroup(PodGroupApi::Native) && self.has_gang();
        for child in self.children.iter_mut().filter(|child| child.uid == *uid) {
            child.deleting = true;
        }
        self.children.retain(|child| child.uid != *uid || held);
    }

    /// Deletes a pod: one that has ended goes at once, a live one terminates.
    fn delete_pod(&mut self, name: &str, uid: &Uid) {
        let ended = |p: &PodView| matches!(p.phase, Phase::Succeeded | Phase::Failed);
        self.pods
            .retain(|p| *p.name != *name || p.uid != *uid || !ended(p));
        for pod in self.pods.iter_mut().filter(|p| *p.name == *name && p.uid == *uid) {
            pod.deleting = true;
        }
    }
}
