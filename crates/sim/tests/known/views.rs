//! Views that are late, old, lost or repeated.
