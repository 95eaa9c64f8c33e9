//! A stable world: nothing left to do.

use super::World;
use crate::framework::Framework;

impl World {
    /// Checks that planning again at later times writes nothing, and yields no events and counters.
    ///
    /// # Panics
    /// If it does.
    pub fn is_stable(&mut self, framework: &dyn Framework) {
        for _ in 0..3 {
            self.pass_time(700);
            let plan = self.plan(framework);
            assert!(
                plan.intent.is_none() && self.open(&plan).is_empty(),
                "{:?}",
                plan.writes
            );
            assert!(
                plan.events.is_empty() && plan.counters.is_empty(),
                "{:?}",
                plan.events
            );
            assert_eq!(plan.status, Some(self.status()));
        }
    }
}
