//! Delays of Kubernetes' controllers.

use std::time::Duration;

use tokio::time::Instant;

use crate::rng::Rng;
use crate::timers::Timers;

/// Delays in milliseconds: a minimum, and a limit on the random part.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Until a pod is placed.
    pub place: (u64, usize),
    /// Until it runs.
    pub start: (u64, usize),
    /// Until a deleted pod has stopped.
    pub stop: (u64, usize),
    /// Until an object without owners is collected.
    pub collect: (u64, usize),
    /// Until the controller of batch Jobs acts.
    pub batch: (u64, usize),
}

impl Pace {
    /// Constant delays.
    pub const STEADY: Self = Self {
        place: (10, 0),
        start: (200, 0),
        stop: (3000, 0),
        collect: (50, 0),
        batch: (20, 0),
    };
    /// Random delays, so that any order of events can occur.
    pub const UNEVEN: Self = Self {
        place: (1, 500),
        start: (10, 2000),
        stop: (10, 8000),
        collect: (10, 20_000),
        batch: (1, 500),
    };
}

/// Times at which controllers act.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Delays.
    pub(super) pace: Pace,
    timers: Timers,
    rng: Rng,
}

impl Schedule {
    /// Schedule without anything due.
    pub(super) fn new(pace: Pace, rng: Rng) -> Self {
        Self {
            pace,
            timers: Timers::default(),
            rng,
        }
    }

    /// Ends a round of all controllers; time of the next action.
    pub(super) fn round(&mut self) -> Option<Instant> {
        self.timers.round()
    }

    /// True once a delay in this range has passed since the action was first asked for.
    pub(super) fn ripe(&mut self, what: String, (least, more): (u64, usize)) -> bool {
        let delay = Duration::from_millis(least)
            + if more > 0 {
                self.rng.millis(more)
            } else {
                Duration::ZERO
            };
        self.timers.ripe(what, delay)
    }
}
