//! Gangs.
