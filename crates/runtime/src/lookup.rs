//! Look-ups of objects whose acknowledged write stays invisible to the watches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::JobKey;

use crate::client::Api;
use crate::metrics::Metrics;
use crate::resource::Resource;
use crate::source::{Shape, Source};
use crate::state::State;
use crate::watermark::Watermark;

/// Period between checks for writes that stay invisible.
const PERIOD: Duration = Duration::from_secs(1);

/// Looks up objects of these sources whose writes stay invisible. Never returns.
pub(crate) async fn run(api: Api, state: Arc<State>, metrics: Metrics, sources: BTreeMap<Resource, Source>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        for (key, watermark) in state.overdue() {
            if let Some(source) = sources.get(&watermark.resource) {
                metrics.looked_up();
                look_up(&api, source.shape, &state, &key, &watermark).await;
            }
        }
    }
}

async fn look_up(api: &Api, shape: Shape, state: &State, key: &JobKey, watermark: &Watermark) {
    let found = match api.get(watermark.resource, &watermark.object).await {
        Ok(json) => shape.read(&json, || state.now()).ok(),
        Err(error) if error.is_not_found() => None,
        // The next check looks it up again.
        Err(_) => return,
    };
    tracing::warn!(job = %key, object = %watermark.object.name, found = found.is_some(), "a write of ours stayed invisible");
    state.looked_up(key, watermark, found);
}
