//! Restarts, limits, deadlines and suspension.
