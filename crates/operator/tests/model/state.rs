//! The world, what the operator knows of it, and what it is about to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::api::JobStatus;
use common::observe::{BatchJobView, Observed, PodView, RawJob, Refusal, Vanished};
use common::testing::World;
use common::{Framework, Plan, Uid};

use super::Case;

/// What is watched by itself, and so is seen at a time of its own. (Services are seen at once: nobody but the operator
/// changes them here.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Watch {
    Job,
    Pods,
    BatchJobs,
}

impl Watch {
    pub(crate) const ALL: [Self; 3] = [Self::Job, Self::Pods, Self::BatchJobs];
}

/// What the operator's watches have told it: of each, the world at some time in the past.
#[derive(Clone, Default)]
pub(crate) struct View {
    pub(crate) job: Option<Arc<RawJob>>,
    pub(crate) pods: Vec<Arc<PodView>>,
    pub(crate) batch_pods: Vec<(Uid, Arc<PodView>)>,
    pub(crate) batch_jobs: Vec<Arc<BatchJobView>>,
}

/// One request of a plan, or what is one for the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Intent,
    Write(usize),
    Status,
}

/// A plan that is being carried out.
#[derive(Clone)]
pub(crate) struct Flight {
    pub(crate) plan: Arc<Plan>,
    pub(crate) requests: Vec<Request>,
    pub(crate) next: usize,
    /// The version that the next status is conditional on.
    pub(crate) version: String,
    pub(crate) shown: Vec<Vanished>,
    /// Whether the plan was made to tell of refusals.
    pub(crate) tells: bool,
    /// What was refused on the way.
    pub(crate) refused: Option<Refusal>,
}

/// A state.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) view: View,
    /// Own writes of each kind that are acknowledged and not seen yet, or a version that must be newer than the known one.
    pub(crate) behind: BTreeSet<Watch>,
    pub(crate) vanished: Vec<Vanished>,
    pub(crate) own_deletes: BTreeSet<Uid>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) flight: Option<Flight>,
    /// The newest incarnation that was ever made of each name.
    pub(crate) made: BTreeMap<String, u32>,
    pub(crate) faults: u8,
    /// Edits of the job by users.
    pub(crate) edits: u32,
}

impl State {
    /// The job is new, and nobody has seen it.
    pub(crate) fn new(case: &Case) -> Self {
        Self {
            world: World::new(case.framework, &case.manifest()),
            view: View::default(),
            behind: BTreeSet::new(),
            vanished: Vec::new(),
            own_deletes: BTreeSet::new(),
            refusals: Vec::new(),
            flight: None,
            made: BTreeMap::new(),
            faults: case.most,
            edits: 0,
        }
    }

    /// Whether a watch has something to tell.
    pub(crate) fn lags(&self, watch: Watch) -> bool {
        let (view, world) = (&self.view, &self.world);
        match watch {
            Watch::Job => {
                let id = |job: &RawJob| (job.uid.clone(), job.resource_version.clone());
                view.job.as_ref().map(|job| id(job)) != world.job.as_ref().map(id)
            }
            Watch::Pods => {
                let carried = view.batch_pods.iter().map(|(owner, pod)| (owner, &**pod));
                !same(&view.pods, &world.pods)
                    || !carried.eq(world.batch_pods.iter().map(|(owner, pod)| (owner, pod)))
            }
            Watch::BatchJobs => !same(&view.batch_jobs, &world.batch_jobs),
        }
    }

    /// What a plan is shown.
    pub(crate) fn observed(&self) -> Option<Observed> {
        Some(Observed {
            now: self.world.now,
            job: Arc::clone(self.view.job.as_ref()?),
            pods: self.view.pods.clone(),
            children: self.world.children.iter().cloned().map(Arc::new).collect(),
            batch_jobs: self.view.batch_jobs.clone(),
            batch_pods: self.view.batch_pods.clone(),
            priorities: Arc::default(),
            vanished: self.vanished.clone(),
            refusals: self.refusals.clone(),
            unreachable_nodes: BTreeMap::new(),
        })
    }

    /// The pass that would begin now, if one may: all of its own writes are visible. `None` as the first if it would do
    /// nothing.
    pub(crate) fn pass(&self, framework: &dyn Framework) -> Option<(Option<Flight>, Arc<Plan>)> {
        if self.flight.is_some() || !self.behind.is_empty() {
            return None;
        }
        let observed = self.observed()?;
        let plan = Arc::new(common::plan(framework, &observed, &self.world.settings));
        let known = common::resolve::stored_status(&observed.job);
        let mut requests = Vec::new();
        let new = |status: &Option<JobStatus>, than: &JobStatus| status.as_ref().is_some_and(|s| s != than);
        if new(&plan.intent, &known) {
            requests.push(Request::Intent);
        }
        let open = self.world.open(&plan);
        let is_open = |write: &common::Write| open.iter().any(|o| std::ptr::eq(*o, write));
        let writes = (0..plan.writes.len()).filter(|n| is_open(&plan.writes[*n]));
        requests.extend(writes.map(Request::Write));
        let after = plan.intent.as_ref().unwrap_or(&known);
        if new(&plan.status, after) {
            requests.push(Request::Status);
        }
        let flight = (!requests.is_empty()).then(|| Flight {
            plan: Arc::clone(&plan),
            requests,
            next: 0,
            version: observed.job.resource_version.clone(),
            shown: if plan.keeps_vanished {
                Vec::new()
            } else {
                observed.vanished.clone()
            },
            tells: !observed.refusals.is_empty(),
            refused: None,
        });
        Some((flight, plan))
    }

    /// Names of pods and batch Jobs that have a pod, with the pod.
    pub(crate) fn carriers(&self) -> Vec<(String, &PodView)> {
        let pods = self.world.pods.iter().map(|pod| (pod.name.to_string(), pod));
        let carried = self.world.batch_jobs.iter().filter_map(|job| {
            let mut pods = self.world.batch_pods.iter().rev();
            let (_, pod) = pods.find(|(owner, _)| *owner == job.uid)?;
            Some((job.name.to_string(), pod))
        });
        pods.chain(carried).collect()
    }
}

fn same<T: PartialEq>(known: &[Arc<T>], there: &[T]) -> bool {
    known.iter().map(|known| &**known).eq(there)
}
