//! Events of pods: they run, end, are deleted or vanish.

use super::World;
use crate::names::Uid;
use crate::observe::{ContainerState, ContainerView, Phase, PodDetail, PodView, Vanished};

impl World {
    /// Changes a pod.
    ///
    /// # Panics
    /// If there is no such pod.
    #[expect(clippy::panic, reason = "a test's own input")]
    pub fn pod(&mut self, name: &str) -> &mut PodView {
        // The youngest pod of a batch Job is found by the name of the batch Job.
        let carried = self
            .batch_jobs
            .iter()
            .find(|j| *j.name == *name)
            .map(|j| j.uid.clone());
        let found = match carried {
            Some(uid) => self
                .batch_pods
                .iter_mut()
                .rev()
                .find(|(owner, _)| *owner == uid)
                .map(|(_, pod)| pod),
            None => self.pods.iter_mut().find(|p| *p.name == *name),
        };
        found.unwrap_or_else(|| panic!("no pod {name}"))
    }

    /// These pods start to run.
    pub fn run(&mut self, names: &[&str]) {
        for name in names {
            let Some(node) = self.place() else { return };
            let pod = self.pod(name);
            pod.phase = Phase::Running;
            pod.ready = true;
            pod.node = Some(node);
        }
    }

    /// All waiting pods start to run.
    pub fn run_all(&mut self) {
        let waiting: Vec<String> = self
            .pods
            .iter()
            .filter(|p| p.phase == Phase::Pending)
            .map(|p| p.name.to_string())
            .collect();
        self.run(&waiting.iter().map(String::as_str).collect::<Vec<_>>());
        let Some(node) = self.place() else { return };
        for (_, pod) in self
            .batch_pods
            .iter_mut()
            .filter(|(_, pod)| pod.phase == Phase::Pending)
        {
            pod.phase = Phase::Running;
            pod.ready = true;
            pod.node = Some(node.clone());
        }
    }

    /// The container of a pod ends, and the pod with it.
    pub fn end(&mut self, name: &str, container: &str, exit_code: i32, reason: &str, message: Option<&str>) {
        let finished_at = Some(self.now);
        let pod = self.pod(name);
        pod.phase = if exit_code == 0 {
            Phase::Succeeded
        } else {
            Phase::Failed
        };
        pod.ready = false;
        let state = ContainerState::Terminated {
            exit_code,
            reason: Some(reason.into()),
            message: message.map(Into::into),
            finished_at,
        };
        let container = ContainerView {
            name: container.into(),
            init: false,
            state,
        };
        pod.detail = Some(Box::new(PodDetail {
            containers: vec![container],
            ..PodDetail::default()
        }));
        self.control_batch_jobs();
    }

    /// A pod is evicted: Failed, without container statuses.
    pub fn evict(&mut self, name: &str, disruption: Option<&str>) {
        let pod = self.pod(name);
        pod.phase = Phase::Failed;
        pod.detail = Some(Box::new(PodDetail {
            reason: Some("Evicted".into()),
            message: Some("The node was low on resource: memory.".into()),
            disruption: disruption.map(Into::into),
            ..PodDetail::default()
        }));
        self.control_batch_jobs();
    }

    /// A user deletes a pod; it terminates until [`World::reap`].
    pub fn delete(&mut self, name: &str) {
        self.pod(name).deleting = true;
    }

    /// Terminating pods go, except on unreachable nodes. Those that the operator did not delete are reported as vanished.
    pub fn reap(&mut self) {
        let lost = std::mem::take(&mut self.unreachable_nodes);
        let goes = |p: &PodView| p.deleting && p.node.as_ref().is_none_or(|node| !lost.contains_key(node));
        let (gone, left) = std::mem::take(&mut self.pods).into_iter().partition(goes);
        self.pods = left;
        self.miss(gone);
        self.batch_pods.retain(|(_, pod)| !goes(pod));
        self.unreachable_nodes = lost;
        self.after_reaping();
    }

    /// Effects of removed pods on batch Jobs and PodGroups.
    pub(super) fn after_reaping(&mut self) {
        self.reap_batch_jobs();
        if !self.has_gang() {
            self.children.retain(|child| !child.deleting);
        }
        self.control_batch_jobs();
    }

    fn miss(&mut self, gone: Vec<PodView>) {
        let missed = gone.into_iter().filter(|pod| !self.deleted.contains(&pod.uid));
        self.vanished.extend(missed.map(|pod| Vanished {
            name: pod.name,
            attempt: pod.attempt,
            restarts: pod.restarts,
            succeeded: pod.phase == Phase::Succeeded && !pod.deleting,
        }));
    }

    /// A pod is gone at once, without terminating first.
    pub fn vanish(&mut self, name: &str) {
        if let Some(at) = self.batch_jobs.iter().position(|job| *job.name == *name) {
            return self.vanish_batch_job(at);
        }
        let (gone, left) = std::mem::take(&mut self.pods)
            .into_iter()
            .partition(|p| *p.name == *name);
        self.pods = left;
        self.miss(gone);
    }

    /// Removes a pod at once, whether or not its node is reachable.
    pub(super) fn remove_pod(&mut self, uid: &Uid) {
        let is = |pod: &PodView| pod.uid == *uid;
        self.pods.retain(|pod| !is(pod));
        self.batch_pods.retain(|(_, pod)| !is(pod));
        self.reap_batch_jobs();
    }
}
