//! Network faults of a chaos run.

use std::time::Duration;

use crate::cluster::is_aside;
use crate::fault_log::FaultLog;
use crate::network_faults::{Fault, NetworkFaults, Trip};
use crate::refusal::Refusal;
use crate::request::{Request, Verb};
use crate::rng::Rng;
use crate::types::PODS;

/// Random network faults of one process.
pub(super) struct RandomFaults {
    pub(super) rng: Rng,
    /// Factor on their frequency; 0 means none.
    pub(super) force: usize,
    pub(super) log: FaultLog,
}

impl NetworkFaults for RandomFaults {
    fn trip(&mut self, request: &Request) -> Trip {
        if self.log.is_over() {
            return Trip::UNDISTURBED;
        }
        let mut delay = |often: usize, most: usize| {
            let often = often * self.force;
            if self.rng.per_mille(often) {
                self.rng.millis(most)
            } else {
                Duration::ZERO
            }
        };
        let (there, back) = (delay(100, 300) + delay(5, 9000), delay(100, 300) + delay(5, 9000));
        Trip {
            there,
            fault: self.fault(request),
            back,
        }
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        if self.log.is_over() || !self.rng.per_mille(100 * self.force) {
            return Duration::ZERO;
        }
        self.log.note("watch lags");
        self.rng.millis(3000)
    }
}

impl RandomFaults {
    fn fault(&mut self, request: &Request) -> Fault {
        if !self.rng.per_mille(40 * self.force) {
            return Fault::None;
        }
        let writes = request.verb.writes();
        let changes = writes && request.verb != Verb::Create;
        let (what, fault) = match self.rng.below(8) {
            0 if changes => (
                "409",
                Fault::Refused(Refusal::conflict(PODS, &request.name, "injected")),
            ),
            1 => (
                "429",
                Fault::Refused(Refusal::too_many(
                    1 + u32::try_from(self.rng.below(5)).unwrap_or(0),
                )),
            ),
            2 => ("no answer, not served", lost(false, false)),
            3 if writes => ("no answer, served", lost(true, false)),
            4 => ("connection broken before", lost(false, true)),
            5 if writes => ("connection broken after", lost(true, true)),
            6 if writes && !is_aside(request) => (
                "death",
                Fault::Fatal {
                    served: self.rng.per_mille(500),
                },
            ),
            _ => ("500", Fault::Refused(Refusal::internal())),
        };
        self.log.note(what);
        fault
    }
}

fn lost(served: bool, broken: bool) -> Fault {
    Fault::Lost { served, broken }
}
