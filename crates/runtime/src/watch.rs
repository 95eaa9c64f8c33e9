//! List and watch of one resource.
//!
//! Own code rather than kube-runtime's watcher: the watermarks need the resourceVersions of lists and bookmarks, and an object that
//! cannot be read must not stall the rest.
//!
//! The first list asks for the newest state. A watch that ends goes on from its last version. After a 410 the objects are listed
//! again. Each watch has its own back-off and its own idle timeout, so that none affects another.

use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff;
use crate::client::Api;
use crate::decode::{self, DecodeError};
use crate::metrics::Metrics;
use crate::object::Object;
use crate::response::{RequestError, Response, RetryClass};
use crate::source::Source;
use crate::state::State;
use crate::view::StaleList;

/// Longest silence of a watch. Bookmarks come once a minute; a watch that is silent for longer than this is restarted.
const IDLE: Duration = Duration::from_secs(90);
/// First and longest delay after failures.
const DELAYS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// Shortest regular life of a watch, and the pause after one that ended sooner.
const SHORT: Duration = Duration::from_secs(1);
/// Number of failures in a row after which the objects are listed again.
const FAILURES: u32 = 3;
/// Number of stale lists in a row after which the store itself must have gone back.
const STALE_LISTS: u32 = 10;

/// Error that ended a list or a watch.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("not readable: {0}")]
    Frame(#[from] serde_json::Error),
    #[error("version: {0}")]
    Version(#[from] DecodeError),
    #[error("connection: {0}")]
    Connection(#[from] std::io::Error),
    #[error(transparent)]
    Stale(#[from] StaleList),
    #[error("silent for {} s", IDLE.as_secs())]
    Idle,
}

impl WatchError {
    fn is_gone(&self) -> bool {
        matches!(self, Self::Request(error) if error.is_gone())
    }

    fn is_forbidden(&self) -> bool {
        matches!(self, Self::Request(error) if error.class() == RetryClass::Forbidden)
    }

    fn is_not_found(&self) -> bool {
        matches!(self, Self::Request(error) if error.is_not_found())
    }
}

/// State of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
enum WatchState {
    /// All objects have to be listed: at the start, and when there is no version to go on from.
    Listing,
    /// All objects are known as of this version; events after it have to be watched.
    Watching(String),
}

/// Failures in a row of a watch.
#[derive(Debug, Default)]
struct Tries {
    /// Lists and watches that failed since the last event or list.
    failures: u32,
    /// Lists that were older than the view.
    stale_lists: u32,
}

/// A watch.
pub(crate) struct Watch {
    /// Source.
    pub(crate) source: Source,
    /// Connections of the watches.
    pub(crate) api: Api,
    /// State of this process, which takes the events.
    pub(crate) state: Arc<State>,
    /// Metrics.
    pub(crate) metrics: Metrics,
    /// Cancelled once the first list is stored.
    pub(crate) listed: CancellationToken,
    /// Cancelled when this process becomes the leader.
    pub(crate) leads: CancellationToken,
    /// Cancelled once a list is stored that was requested after that: a standby's watch may be stale when it becomes leader.
    pub(crate) listed_as_leader: CancellationToken,
    /// `true` once it was reported that the objects may not be read, until they may be read again.
    pub(crate) reported: bool,
}

impl Watch {
    /// Lists and watches. Never returns.
    pub(crate) async fn run(mut self) {
        let resource = self.source.resource.plural;
        let (mut watch_state, mut tries) = (WatchState::Listing, Tries::default());
        loop {
            let started = Instant::now();
            let listing = watch_state == WatchState::Listing;
            let Some(ended) = self.step(&mut watch_state, &mut tries).await else {
                watch_state = WatchState::Listing;
                continue;
            };
            match ended {
                Ok(()) => (tries, self.reported) = (Tries::default(), false),
                Err(error) => {
                    if self.failed(&error, &mut tries) {
                        watch_state = WatchState::Listing;
                    }
                }
            }
            let watching = !listing && watch_state != WatchState::Listing;
            if tries.failures > 0 {
                tokio::time::sleep(backoff::delay(DELAYS.0, DELAYS.1, tries.failures)).await;
            } else if watching && started.elapsed() < SHORT {
                tokio::time::sleep(SHORT).await; // something cuts our watches as soon as they start
            }
            self.metrics.watch_restarted(resource);
        }
    }

    /// Lists, or watches until the watch ends. Returns `None` if this process became the leader meanwhile, and has to list again.
    async fn step(&self, watch_state: &mut WatchState, tries: &mut Tries) -> Option<Result<(), WatchError>> {
        let from = match watch_state {
            WatchState::Watching(version) => version.clone(),
            WatchState::Listing => {
                let listed = self.list().await;
                return Some(listed.map(|version| *watch_state = WatchState::Watching(version)));
            }
        };
        tokio::select! {
            biased;
            () = self.leads.cancelled(), if !self.listed_as_leader.is_cancelled() => None,
            ended = self.watch(&from, watch_state, tries) => Some(ended),
        }
    }

    /// Counts and reports a failure. Returns `true` if the objects have to be listed again.
    fn failed(&mut self, error: &WatchError, tries: &mut Tries) -> bool {
        let resource = self.source.resource.plural;
        tries.failures = tries.failures.saturating_add(1);
        if error.is_gone() {
            tracing::debug!(resource, "watch is too far behind, listing again");
            return true;
        }
        tries.stale_lists = match error {
            WatchError::Stale(_) => tries.stale_lists.saturating_add(1),
            _ => 0,
        };
        self.report(error, tries.failures);
        if tries.stale_lists >= STALE_LISTS {
            tracing::error!(resource, "the store has gone back; starting over");
            self.state.forget_version(self.source.resource);
        }
        if (error.is_forbidden() || error.is_not_found()) && self.source.shape.is_optional() {
            // The resource is tried again for as long as this process runs.
            self.unblock_start();
        }
        // A watch from the same version would bring an unreadable frame again.
        let unreadable = matches!(error, WatchError::Frame(_) | WatchError::Version(_));
        // After several failures the version itself may be one that the API server cannot go on from.
        unreadable || tries.failures >= FAILURES
    }

    /// Reports a failure; once only, if the operator may have been installed without the right to read the objects.
    fn report(&mut self, error: &WatchError, failures: u32) {
        let resource = self.source.resource.plural;
        let warning = self.source.shape.warning_if_forbidden();
        if let Some(warning) = warning.filter(|_| error.is_forbidden()) {
            if !std::mem::replace(&mut self.reported, true) {
                tracing::warn!(%error, "{warning}");
            }
            return;
        }
        self.metrics.watch_failed(resource);
        tracing::warn!(resource, %error, failures, "watch failed");
    }

    /// Lets start-up go on without the objects.
    pub(crate) fn unblock_start(&self) {
        self.listed.cancel();
        self.listed_as_leader.cancel();
    }

    /// Lists all objects. Returns the version of the list.
    async fn list(&self) -> Result<String, WatchError> {
        let (mut objects, mut next, mut version) = (Vec::new(), String::new(), String::new());
        let leading = self.leads.is_cancelled();
        let Source { resource, shape, .. } = self.source;
        loop {
            let path = self.source.list_path(&next);
            let json = self.api.list(resource, path, shape.is_metadata_only()).await?;
            let page: Page<'_> = serde_json::from_slice(&json)?;
            if version.is_empty() {
                version = page.metadata.resource_version;
            }
            objects.extend(page.items.iter().flatten().filter_map(|item| self.read(item)));
            match page.metadata.next {
                Some(token) if !token.is_empty() => next = token,
                _ => break,
            }
        }
        tracing::debug!(
            resource = resource.plural,
            count = objects.len(),
            version,
            "listed"
        );
        self.state
            .replace(resource, objects, decode::version(&version)?)?;
        self.metrics.watch_event(resource.plural);
        self.listed.cancel();
        if leading {
            self.listed_as_leader.cancel();
        }
        Ok(version)
    }

    /// Watches for events after a version until the watch ends. Keeps the version that it has reached in `watch_state`, and
    /// resets the failures at each event.
    async fn watch(
        &self,
        from: &str,
        watch_state: &mut WatchState,
        tries: &mut Tries,
    ) -> Result<(), WatchError> {
        let Source { resource, shape, .. } = self.source;
        let path = self.source.watch_path(from);
        let body = self.api.watch(resource, path, shape.is_metadata_only()).await?;
        let mut lines = body
            .into_data_stream()
            .map_err(std::io::Error::other)
            .into_async_read();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = tokio::time::timeout(IDLE, lines.read_until(b'\n', &mut line));
            if read.await.map_err(|_| WatchError::Idle)?? == 0 {
                return Ok(());
            }
            self.metrics.watch_event(resource.plural);
            if let Some(reached) = self.frame(&line)? {
                *watch_state = WatchState::Watching(reached);
            }
            tries.failures = 0;
        }
    }

    /// Stores the object of one frame. Returns the version that the watch has reached.
    fn frame(&self, line: &[u8]) -> Result<Option<String>, WatchError> {
        let frame: Frame<'_> = match serde_json::from_slice(line) {
            Ok(frame) => frame,
            // A connection that is cut leaves half a line.
            Err(error) if error.is_eof() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let resource = self.source.resource;
        if frame.type_ == "ERROR" {
            let response = Response::of_frame(frame.object.get());
            return Err(RequestError::Response(Box::new(response)).into());
        }
        let Versioned { metadata } = serde_json::from_str(frame.object.get())?;
        let object = match frame.type_ {
            "BOOKMARK" => None,
            _ => self.read(frame.object),
        };
        match (frame.type_, object) {
            ("ADDED" | "MODIFIED", Some(object)) => self.state.put(resource, object),
            ("DELETED", Some(object)) => self.state.remove(resource, &object),
            _ => {
                let version = decode::version(&metadata.resource_version)?;
                self.state.bookmark(resource, version);
            }
        }
        Ok(Some(metadata.resource_version))
    }

    /// Reads an object. An object that cannot be read is reported and skipped.
    fn read(&self, object: &RawValue) -> Option<Object> {
        let json = object.get().as_bytes();
        let read = self.source.shape.read(json, || self.state.now());
        read.inspect_err(|error| {
            let resource = self.source.resource.plural;
            self.metrics.unreadable(resource);
            tracing::error!(resource, %error, "object cannot be read and is skipped");
        })
        .ok()
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    metadata: PageMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    type_: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: VersionOnly,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionOnly {
    resource_version: String,
}

#[cfg(test)]
mod tests;
