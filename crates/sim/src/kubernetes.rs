//! Kubernetes' own part: a scheduler, kubelets, the controller of batch Jobs, the garbage collector.

mod batch;
mod garbage;
mod kubelet;
mod nodes;
mod pace;
mod scheduler;

use tokio::time::Instant;

use crate::rng::Rng;
use crate::store::Store;

pub use kubelet::{end, fail, restart_in_place};
pub use nodes::{add_node, mend_nodes, set_node};
pub use pace::Pace;

/// All controllers of Kubernetes.
#[derive(Debug)]
pub struct Kubernetes {
    schedule: pace::Schedule,
    batch: batch::Batch,
}

impl Kubernetes {
    /// Controllers at this pace.
    #[must_use]
    pub fn new(pace: Pace, rng: Rng) -> Self {
        Self {
            schedule: pace::Schedule::new(pace, rng),
            batch: batch::Batch::default(),
        }
    }

    /// Does everything that is due. Returns the time of the next action.
    pub fn act(&mut self, store: &mut Store) -> Option<Instant> {
        loop {
            let before = store.changes;
            scheduler::place(store, &mut self.schedule);
            kubelet::run_pods(store, &mut self.schedule);
            self.batch.run_jobs(store, &mut self.schedule);
            garbage::collect(store, &mut self.schedule);
            let next = self.schedule.round();
            if store.changes == before {
                return next;
            }
        }
    }
}
