//! Everything that a reconcile writes with.

use std::sync::Arc;

use crate::client::Api;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::state::State;

/// Everything that a reconcile writes with.
#[derive(Clone)]
pub(crate) struct ApplyContext {
    /// The API server.
    pub(crate) api: Api,
    /// State of this process.
    pub(crate) state: Arc<State>,
    /// Kubernetes events.
    pub(crate) events: Events,
    /// Metrics.
    pub(crate) metrics: Metrics,
}
