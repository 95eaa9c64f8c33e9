//! Facts that more than one decision step reads. Facts do not depend on steps.

pub(crate) mod attempts;
pub(crate) mod context;
pub(crate) mod delays;
pub(crate) mod deletes;
pub(crate) mod dependencies;
pub(crate) mod draft;
pub(crate) mod explanation;
pub(crate) mod failures;
pub(crate) mod first_failure;
pub(crate) mod gang;
pub(crate) mod kept;
pub(crate) mod missing;
pub(crate) mod reasons;
pub(crate) mod stored;
pub(crate) mod success;
pub(crate) mod waits;
