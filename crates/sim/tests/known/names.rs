//! Names, owners and selectors.
