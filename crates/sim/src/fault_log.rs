//! Record of the faults of one chaos run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Number of faults by name, and whether faults have ended.
#[derive(Debug, Clone, Default)]
pub struct FaultLog {
    counts: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    over: Arc<AtomicBool>,
}

impl FaultLog {
    /// Counts one fault.
    pub fn note(&self, fault: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(fault).or_default() += 1;
    }

    /// True if there was a fault of this name.
    #[must_use]
    pub fn has_seen(&self, fault: &str) -> bool {
        self.counts().contains_key(fault)
    }

    /// Number of faults so far, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends all faults: from now on requests are served without disturbance.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// True once faults have ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}
