//! When there is nothing left to do.

use super::World;
use crate::framework::Framework;

impl World {
    /// Time goes by, and passes are made that something else caused: nothing is written, told or counted.
    ///
    /// # Panics
    /// If something is.
    pub fn rests(&mut self, framework: &dyn Framework) {
        for _ in 0..3 {
            self.pass_time(700);
            let plan = self.plan(framework);
            assert!(
                plan.intent.is_none() && self.open(&plan).is_empty(),
                "{:?}",
                plan.writes
            );
            assert!(
                plan.notes.is_empty() && plan.counters.is_empty(),
                "{:?}",
                plan.notes
            );
            assert_eq!(plan.status, Some(self.status()));
        }
    }
}
