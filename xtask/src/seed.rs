//! The seed of the day: of what a usual run takes a share of, it chooses the share.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// Sets it. Tests take a share if it is set, and everything if it is not.
pub(crate) const VARIABLE: &str = "TRAINYARD_DAILY_SEED";

/// The seed that is set, or the number of today.
pub(crate) fn today() -> Result<u64> {
    match std::env::var(VARIABLE) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{VARIABLE}={text}: not a number")),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / (24 * 60 * 60)),
    }
}
