//! Names on which several parts of the simulation agree.

/// Name of the lease by which operators elect a leader.
pub const LEASE: &str = "trainyard-operator";
