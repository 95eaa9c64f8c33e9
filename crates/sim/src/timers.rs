//! Delays of controllers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// Times at which actions are due, by name.
#[derive(Debug, Default)]
pub struct Timers {
    due: BTreeMap<String, Instant>,
    asked: BTreeSet<String>,
    next: Option<Instant>,
}

impl Timers {
    /// True once `delay` has passed since the action was first asked for, in each round without a gap.
    pub fn ripe(&mut self, what: String, delay: Duration) -> bool {
        let now = Instant::now();
        let due = *self.due.entry(what.clone()).or_insert(now + delay);
        self.asked.insert(what);
        if due <= now {
            return true;
        }
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        false
    }

    /// Ends a round: actions that were not asked for in it are forgotten. Returns the time of the next action.
    pub fn round(&mut self) -> Option<Instant> {
        let asked = std::mem::take(&mut self.asked);
        self.due.retain(|what, _| asked.contains(what));
        self.next.take()
    }
}
