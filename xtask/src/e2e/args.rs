//! Arguments of the cluster part.

use cluster::images::Profile;

use crate::target::Choice;

/// What to run, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Args<'a> {
    /// Only tests whose names contain this.
    pub(crate) only: Option<&'a str>,
    /// Also tests that need a guest.
    pub(crate) queue: bool,
    /// All kinds, and the operator as it ships.
    pub(crate) all: bool,
    /// Leave the cluster up.
    pub(crate) keep_cluster: bool,
    /// Which cluster.
    pub(crate) choice: &'a Choice,
}

impl Args<'_> {
    /// Whether the tests of a usual run are among those that run.
    pub(super) fn is_whole(&self) -> bool {
        self.only.unwrap_or_default().is_empty()
    }

    pub(super) fn profile(&self) -> Profile {
        if self.all { Profile::Release } else { Profile::Dev }
    }
}
