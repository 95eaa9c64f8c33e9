//! Manager.
fn main() {}
