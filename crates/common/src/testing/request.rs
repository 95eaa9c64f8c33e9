//! Single requests with the preconditions that an API server checks, for tests in which the world changes between plan and
//! request.

use super::World;
use crate::api::JobStatus;
use crate::names::{Attempt, Uid};
use crate::plan::Write;

/// Answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was applied.
    Done,
    /// Nothing to do: the object exists already, or is gone already.
    Already,
    /// Another object, or one with a deletion timestamp, has the name.
    Taken,
}

impl World {
    /// Applies one write of a plan if its preconditions hold at this time.
    pub fn request(&mut self, write: &Write) -> Answer {
        let met = match write {
            Write::CreatePod { pod, attempt, .. } => {
                let name = pod.metadata.name.as_deref();
                let mut pods = self.pods.iter().filter(|p| Some(&*p.name) == name);
                Self::creates(pods.next().map(|p| (p.attempt, p.deleting)), *attempt)
            }
            Write::CreateBatchJob { job, attempt, .. } => {
                let name = job.metadata.name.as_deref();
                let mut jobs = self.batch_jobs.iter().filter(|j| Some(&*j.name) == name);
                Self::creates(jobs.next().map(|j| (j.attempt, j.deleting)), *attempt)
            }
            Write::CreateChild(child) => {
                let same =
                    |c: &&crate::observe::ChildView| c.kind == child.kind() && *c.name == *child.name();
                let found = self.children.iter().find(same);
                Self::creates(found.map(|c| (Attempt(0), c.deleting)), Attempt(0))
            }
            Write::ChangeChild { uid, .. } if !self.children.iter().any(|c| c.uid == *uid) => Answer::Taken,
            Write::DeletePod { uid, .. } => Self::deletes(self.pods.iter().any(|p| p.uid == *uid)),
            Write::DeleteBatchJob { uid, .. } => Self::deletes(self.batch_jobs.iter().any(|j| j.uid == *uid)),
            Write::DeleteChild { uid, .. } => Self::deletes(self.children.iter().any(|c| c.uid == *uid)),
            Write::DeleteJob {
                uid,
                resource_version,
            } => {
                let same = |job: &crate::observe::RawJob| {
                    job.uid == *uid && job.resource_version == *resource_version
                };
                Self::deletes(self.job.as_ref().is_some_and(same))
            }
            Write::ChangeChild { .. } | Write::Ensure(_) => Answer::Done,
        };
        if met == Answer::Done {
            self.write(write);
        }
        met
    }

    fn creates(found: Option<(Attempt, bool)>, attempt: Attempt) -> Answer {
        match found {
            None => Answer::Done,
            Some((there, false)) if there == attempt => Answer::Already,
            Some(_) => Answer::Taken,
        }
    }

    fn deletes(there: bool) -> Answer {
        if there { Answer::Done } else { Answer::Already }
    }

    /// Stores a status of the job.
    pub fn store_status(&mut self, status: &JobStatus) {
        self.store(status);
    }

    /// Removes a terminating pod.
    pub fn reap_pod(&mut self, uid: &Uid) {
        let goes = |pod: &crate::observe::PodView| pod.uid == *uid && pod.deleting;
        self.pods.retain(|pod| !goes(pod));
        self.batch_pods.retain(|(_, pod)| !goes(pod));
        self.after_reaping();
    }
}
