//! The process: leases, time, memory, load.
