//! What controllers wait for before they act.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// Times at which something is due, by what it is.
#[derive(Debug, Default)]
pub struct Timers {
    due: BTreeMap<String, Instant>,
    asked: BTreeSet<String>,
    next: Option<Instant>,
}

impl Timers {
    /// Whether `delay` has passed since this was first asked for in each round without a gap.
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

    /// Ends a round: what was not asked for in it is forgotten. Answers with the time of the next one.
    pub fn round(&mut self) -> Option<Instant> {
        let asked = std::mem::take(&mut self.asked);
        self.due.retain(|what, _| asked.contains(what));
        self.next.take()
    }
}
