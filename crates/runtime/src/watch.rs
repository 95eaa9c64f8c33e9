//! One list-and-watch loop per resource, of our own: the watermark needs the resourceVersion of lists and bookmarks,
//! and an object that cannot be read must not stall the rest.
//!
//! The first list asks for the newest state; a watch that ends goes on from where it was; 410 means list again. Each
//! watch has its own back-off and its own idle timeout, so that none suffers from another.

use std::sync::Arc;
use std::time::Duration;

use common::KindInfo;
use common::plan::ChildKind;
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
use crate::resource::Resource;
use crate::response::{RequestError, Response, RetryClass};
use crate::state::State;

/// Objects per page of a list.
const PAGE: u32 = 500;
/// The API server ends a watch after about this time: less than what load balancers allow idle connections.
const TIMEOUT: Duration = Duration::from_secs(200);
/// Bookmarks come once a minute; a watch that is silent for longer than this is begun anew.
const IDLE: Duration = Duration::from_secs(90);
/// First and longest delay after failures.
const DELAYS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A watch that ends sooner than this did not end in good order.
const SHORT: Duration = Duration::from_secs(1);
/// After so many watches in a row that brought nothing, the objects are listed again.
const FAILED_WATCHES: u32 = 3;
/// After so many lists from the past in a row, the store itself must have gone back.
const STALE_LISTS: u32 = 10;

/// How the objects of a resource are read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// As jobs of a kind.
    Job(&'static KindInfo),
    /// As pods.
    Pod,
    /// As children of a kind.
    Child(ChildKind),
    /// As batch Jobs.
    BatchJob,
    /// As nodes. Nobody waits for them: where they may not be read, lost ones are left to Kubernetes.
    Node,
    /// As priority classes. Where they may not be read, all count the same.
    PriorityClass,
}

impl Shape {
    /// Reads an object of this shape.
    fn read(self, json: &[u8], state: &State) -> Result<Object, DecodeError> {
        match self {
            Self::Job(kind) => decode::job(kind, json).map(|job| Object::Job(Box::new(job))),
            Self::Pod => decode::pod(json).map(Object::Pod),
            Self::Child(kind) => decode::child(kind, json).map(Object::Child),
            Self::BatchJob => decode::batch_job(json).map(Object::BatchJob),
            Self::Node => decode::node(json, state.now()).map(Object::Node),
            Self::PriorityClass => decode::priority_class(json).map(Object::PriorityClass),
        }
    }

    /// What follows where such objects may not be read, if the operator may have been installed so.
    fn done_without(self) -> Option<&'static str> {
        match self {
            Self::Node => Some("nodes may not be read: pods on lost nodes are not replaced"),
            Self::PriorityClass => Some("priority classes may not be read: all roles count the same"),
            Self::Job(_) | Self::Pod | Self::Child(_) | Self::BatchJob => None,
        }
    }
}

/// What to watch.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Resource.
    pub(crate) resource: Resource,
    /// Shape of its objects.
    pub(crate) shape: Shape,
    /// Namespace, or all.
    pub(crate) namespace: Option<String>,
    /// Label selector, as it stands in a URL.
    pub(crate) selector: Option<String>,
}

/// Why a list or a watch ended.
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
    Stale(#[from] crate::view::StaleList),
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
}

/// A watch.
pub(crate) struct Watch {
    /// What to watch.
    pub(crate) source: Source,
    /// Connections of the watches.
    pub(crate) api: Api,
    /// Where the news go.
    pub(crate) state: Arc<State>,
    /// Metrics.
    pub(crate) metrics: Metrics,
    /// Cancelled once the first list is in.
    pub(crate) listed: CancellationToken,
    /// Cancelled when this process begins to lead.
    pub(crate) leads: CancellationToken,
    /// Cancelled once a list is in that was asked for after that: the watch of one who stood by may have been silent for long
    /// when he takes over.
    pub(crate) fresh: CancellationToken,
    /// Whether it was told that it may not be read; not once it may be again.
    pub(crate) reported: bool,
}

impl Watch {
    /// Lists and watches for ever.
    pub(crate) async fn run(mut self) {
        let resource = self.source.resource.plural;
        let (mut failures, mut stale) = (0_u32, 0_u32);
        let mut version: Option<String> = None;
        let (leads, current) = (self.leads.clone(), self.fresh.clone());
        loop {
            let (begun, fresh) = (Instant::now(), version.is_none());
            let ended = match version.take() {
                None => self.list().await.map(|listed| version = Some(listed)),
                Some(_) if leads.is_cancelled() && !current.is_cancelled() => continue,
                Some(from) => tokio::select! {
                    biased;
                    () = leads.cancelled(), if !current.is_cancelled() => continue,
                    ended = self.watch(from, &mut version, &mut failures) => ended,
                },
            };
            match ended {
                Ok(()) => (failures, stale, self.reported) = (0, 0, false),
                Err(error) if error.is_gone() => {
                    tracing::debug!(resource, "watch is too far behind, listing again");
                    (version, failures) = (None, failures.saturating_add(1));
                }
                Err(error) => {
                    if matches!(error, WatchError::Frame(_) | WatchError::Version(_)) {
                        version = None; // going on from here would only bring the same frame again
                    }
                    failures = failures.saturating_add(1);
                    if failures >= FAILED_WATCHES {
                        version = None; // this version may be what it cannot go on from
                    }
                    stale = if matches!(error, WatchError::Stale(_)) {
                        stale.saturating_add(1)
                    } else {
                        0
                    };
                    self.report(&error, failures);
                    self.give_in(&error, stale);
                }
            }
            if failures > 0 {
                tokio::time::sleep(backoff::delay(DELAYS.0, DELAYS.1, failures)).await;
            } else if version.is_some() && !fresh && begun.elapsed() < SHORT {
                tokio::time::sleep(SHORT).await; // somebody cuts our watches as soon as they begin
            }
            self.metrics.watch_restarted(resource);
        }
    }

    /// Tells of a failure; once only, where that is how the operator was installed.
    fn report(&mut self, error: &WatchError, failures: u32) {
        let resource = self.source.resource.plural;
        let without = self.source.shape.done_without();
        if let Some(words) = without.filter(|_| error.is_forbidden()) {
            if !std::mem::replace(&mut self.reported, true) {
                tracing::warn!(%error, "{words}");
            }
            return;
        }
        self.metrics.watch_failed(resource);
        tracing::warn!(resource, %error, failures, "watch failed");
    }

    /// What must not be waited for without end.
    fn give_in(&self, error: &WatchError, stale: u32) {
        if stale >= STALE_LISTS {
            tracing::error!(
                resource = self.source.resource.plural,
                "the store has gone back; starting over"
            );
            self.state.forget_version(self.source.resource);
        }
        // A kind that is not installed, or not ours to see, must not hold up the others; it is tried for as long as we run.
        let absent = error.is_forbidden() || matches!(error, WatchError::Request(e) if e.is_not_found());
        let optional = matches!(
            self.source.shape,
            Shape::Job(_)
                | Shape::Child(ChildKind::Autoscaler | ChildKind::PodGroup(_))
                | Shape::PriorityClass
        );
        if absent && optional {
            self.done_without();
        }
    }

    /// Nobody need wait for it.
    pub(crate) fn done_without(&self) {
        self.listed.cancel();
        self.fresh.cancel();
    }

    /// Lists all objects, and says as of which version.
    async fn list(&self) -> Result<String, WatchError> {
        let (mut objects, mut next, mut version) = (Vec::new(), String::new(), String::new());
        let leading = self.leads.is_cancelled();
        loop {
            let path = self.source.list_path(&next);
            let json = self
                .api
                .list(self.source.resource, path, self.source.metadata_only())
                .await?;
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
            resource = self.source.resource.plural,
            count = objects.len(),
            version,
            "listed"
        );
        self.state
            .replace(self.source.resource, objects, decode::version(&version)?)?;
        self.metrics.watch_event(self.source.resource.plural);
        self.listed.cancel();
        if leading {
            self.fresh.cancel();
        }
        Ok(version)
    }

    /// Watches from a version on until the watch ends; `version` is where to go on.
    async fn watch(
        &self,
        from: String,
        version: &mut Option<String>,
        failures: &mut u32,
    ) -> Result<(), WatchError> {
        let resource = self.source.resource;
        let path = self.source.watch_path(&from);
        *version = Some(from);
        let body = self
            .api
            .watch(resource, path, self.source.metadata_only())
            .await?;
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
                *version = Some(reached);
            }
            *failures = 0;
        }
    }

    /// Takes in one frame; answers with the version that it brings the watch to.
    fn frame(&self, line: &[u8]) -> Result<Option<String>, WatchError> {
        let frame: Frame<'_> = match serde_json::from_slice(line) {
            Ok(frame) => frame,
            // A connection that is cut leaves half a line.
            Err(error) if error.is_eof() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let resource = self.source.resource;
        if frame.type_ == "ERROR" {
            return Err(RequestError::Response(Box::new(Response::of_frame(frame.object.get()))).into());
        }
        let Versioned { metadata } = serde_json::from_str(frame.object.get())?;
        match (frame.type_, self.bookmark_or(frame.type_, frame.object)) {
            ("ADDED" | "MODIFIED", Some(object)) => self.state.put(resource, object),
            ("DELETED", Some(object)) => self.state.remove(resource, &object),
            _ => self
                .state
                .bookmark(resource, decode::version(&metadata.resource_version)?),
        }
        Ok(Some(metadata.resource_version))
    }

    fn bookmark_or(&self, type_: &str, object: &RawValue) -> Option<Object> {
        if type_ == "BOOKMARK" {
            None
        } else {
            self.read(object)
        }
    }

    /// Reads an object; one that cannot be read is skipped, so that it costs itself only.
    fn read(&self, object: &RawValue) -> Option<Object> {
        let read = self.source.shape.read(object.get().as_bytes(), &self.state);
        read.inspect_err(|error| {
            let resource = self.source.resource.plural;
            self.metrics.unreadable(resource);
            tracing::error!(resource, %error, "object cannot be read and is skipped");
        })
        .ok()
    }
}

impl Source {
    fn metadata_only(&self) -> bool {
        matches!(
            self.shape,
            Shape::Child(ChildKind::Service | ChildKind::Autoscaler)
        )
    }

    fn base(&self) -> String {
        let path = self.resource.collection(self.namespace.as_deref());
        let selector = self
            .selector
            .as_ref()
            .map(|s| format!("&labelSelector={s}"))
            .unwrap_or_default();
        format!("{path}?{}", selector.trim_start_matches('&'))
    }

    fn list_path(&self, next: &str) -> String {
        let next = if next.is_empty() {
            String::new()
        } else {
            format!("&continue={next}")
        };
        format!("{}&limit={PAGE}{next}", self.base()).replace("?&", "?")
    }

    fn watch_path(&self, from: &str) -> String {
        let seconds = backoff::jitter(TIMEOUT).as_secs();
        let watch =
            format!("&watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={from}");
        format!("{}{watch}", self.base()).replace("?&", "?")
    }
}

/// Looks up what a write should have made visible long ago.
pub(crate) async fn look_up(
    api: &Api,
    shape: Shape,
    state: &State,
    key: &common::JobKey,
    watermark: &crate::watermark::Watermark,
) {
    let found = match api.get(watermark.resource, &watermark.object).await {
        Ok(json) => shape.read(&json, state).ok(),
        Err(error) if error.is_not_found() => None,
        // It is asked again in a moment.
        Err(_) => return,
    };
    tracing::warn!(job = %key, object = %watermark.object.name, found = found.is_some(), "a write of ours stayed invisible");
    state.looked_up(key, watermark, found);
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
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use proptest::prelude::*;

    use super::*;
    use crate::lease::Leadership;
    use crate::resource::PRIORITY_CLASSES;
    use crate::resource::{NODES, PODS};
    use crate::view::View;

    /// A watch that the API server answers with this code.
    fn answered(resource: Resource, shape: Shape, code: StatusCode) -> Watch {
        let client = kube::Client::new(Router::new().fallback(async move || code), "default");
        let metrics = Metrics::default();
        Watch {
            source: Source {
                resource,
                shape,
                namespace: None,
                selector: None,
            },
            api: Api::new(client, metrics.clone(), Arc::new(Leadership::always())),
            state: Arc::new(State::new(
                View::new([]),
                metrics.clone(),
                crate::clock::Clock::default(),
            )),
            metrics,
            listed: CancellationToken::new(),
            leads: CancellationToken::new(),
            fresh: CancellationToken::new(),
            reported: false,
        }
    }

    #[tokio::test]
    async fn what_may_be_done_without_is_told_of_once() {
        let cases = [
            (
                PRIORITY_CLASSES,
                Shape::PriorityClass,
                StatusCode::FORBIDDEN,
                true,
            ),
            (NODES, Shape::Node, StatusCode::FORBIDDEN, true),
            (NODES, Shape::Node, StatusCode::BAD_GATEWAY, false),
            (PODS, Shape::Pod, StatusCode::FORBIDDEN, false),
        ];
        for (resource, shape, code, once) in cases {
            let mut watch = answered(resource, shape, code);
            let error = watch.list().await.unwrap_err();
            // It had been allowed before.
            watch.listed.cancel();
            watch.report(&error, 1);
            watch.report(&error, 2);
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &watch.metrics.registry()).unwrap();
            let counted = text.contains("watch_errors_total{");
            assert_eq!((watch.reported, counted), (once, !once), "{shape:?} {code}");
        }
    }

    /// The metric of the seconds since a watch brought anything.
    fn idle(metrics: &Metrics) -> u64 {
        metrics.refresh(crate::metrics::ObjectCounts::default(), 0, false);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
        let name = "trainyard_watch_idle_seconds{resource=\"pods\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }

    /// Nobody could tell from outside that a watch had been silent for hours (kubernetes/kube-state-metrics#694,
    /// emberstack/kubernetes-reflector#246).
    #[tokio::test(start_paused = true)]
    async fn a_silent_watch_is_told_by_its_metric_until_it_says_something() {
        let speaks = Arc::new(AtomicBool::new(false));
        let (open, lists) = (Arc::clone(&speaks), Arc::new(AtomicUsize::new(0)));
        let listed = Arc::clone(&lists);
        let answer = move |uri: http::Uri| {
            let bookmarks = open.load(Ordering::SeqCst);
            let watches = uri.query().is_some_and(|query| query.contains("watch=true"));
            let counts = usize::from(!watches);
            let version = listed.fetch_add(counts, Ordering::SeqCst) + counts;
            let metadata = serde_json::json!({"resourceVersion": version.to_string()});
            async move {
                if !watches {
                    let list = serde_json::json!({"metadata": metadata, "items": []});
                    return axum::body::Body::from(list.to_string());
                }
                // Its connection stands, whether or not it says anything.
                axum::body::Body::from_stream(futures::stream::unfold((), move |()| {
                    let bookmark = serde_json::json!({"type": "BOOKMARK", "object": {"metadata": metadata}});
                    async move {
                        if !bookmarks {
                            std::future::pending::<()>().await;
                        }
                        tokio::time::sleep(Duration::from_mins(1)).await;
                        Some((Ok::<_, std::io::Error>(format!("{bookmark}\n")), ()))
                    }
                }))
            }
        };
        let mut watch = answered(PODS, Shape::Pod, StatusCode::OK);
        let client = kube::Client::new(Router::new().fallback(answer), "default");
        watch.api = Api::new(client, watch.metrics.clone(), Arc::new(Leadership::always()));
        let metrics = watch.metrics.clone();
        let running = tokio::spawn(watch.run());
        let wait = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
        wait(1).await;
        assert!(idle(&metrics) <= 1);
        // Given up and begun anew, again and again: that is no news.
        for so_far in [60, 120, 180, 240] {
            wait(60).await;
            assert!(
                (so_far..=so_far + 2).contains(&idle(&metrics)),
                "{so_far}: {}",
                idle(&metrics)
            );
        }
        assert_eq!(lists.load(Ordering::SeqCst), 1);
        speaks.store(true, Ordering::SeqCst);
        // The third of them is not gone on from: all is listed.
        wait(60).await;
        assert_eq!(lists.load(Ordering::SeqCst), 2);
        assert!(idle(&metrics) <= 60, "{}", idle(&metrics));
        for _ in 0..10 {
            wait(45).await;
            assert!(idle(&metrics) <= 60, "{}", idle(&metrics));
        }
        assert_eq!(lists.load(Ordering::SeqCst), 2);
        running.abort();
    }

    /// Bytes of frames as they come, with some of them changed.
    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let metadata = r#""metadata":{"name":"p","namespace":"n","uid":"u","resourceVersion":"7","labels":{"a":"b"},"ownerReferences":[{"kind":"TestJob","name":"j","uid":"o","controller":true}]}"#;
        let texts: Vec<String> = [
            r#""spec":{"nodeName":"x"},"status":{"phase":"Failed","containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":1}}}]}"#,
            r#""spec":{"taints":[{"key":"k"}]},"status":{"conditions":[{"type":"Ready","status":"Unknown","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#,
            r#""spec":{"backoffLimit":2},"status":{"failed":1,"conditions":[{"type":"Complete","status":"True"}]}"#,
            r#""value":5"#,
            r#""code":410,"reason":"Expired","message":"too old""#,
        ]
        .iter()
        .flat_map(|rest| {
            ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "NEW"]
                .map(|type_| format!(r#"{{"type":"{type_}","object":{{{metadata},{rest}}}}}"#))
        })
        .collect();
        let change = (any::<usize>(), 0..3_u8, any::<u8>());
        (prop::sample::select(texts), prop::collection::vec(change, 0..5)).prop_map(|(text, changes)| {
            let mut bytes = text.into_bytes();
            for (at, what, byte) in changes {
                let at = at % bytes.len();
                match what {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

        /// More cases with `PROPTEST_CASES=1000000`.
        #[test]
        fn any_bytes_are_an_object_or_an_error(frames in prop::collection::vec(frames(), 1..6)) {
            let resources = [(PODS, Shape::Pod), (NODES, Shape::Node), (PRIORITY_CLASSES, Shape::PriorityClass)];
            let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _entered = executor.enter(); // the client wants one
            for (resource, shape) in resources {
                let watch = answered(resource, shape, StatusCode::OK);
                for frame in &frames {
                    if let Ok(Some(version)) = watch.frame(frame) {
                        prop_assert!(decode::version(&version).is_ok() || !version.is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn lists_are_paged_and_never_old_and_watches_go_on() {
        let source = |selector: Option<&str>| Source {
            resource: PODS,
            shape: Shape::Pod,
            namespace: None,
            selector: selector.map(str::to_owned),
        };
        assert_eq!(source(None).list_path(""), "/api/v1/pods?limit=500");
        assert_eq!(
            source(Some("a")).list_path("t"),
            "/api/v1/pods?labelSelector=a&limit=500&continue=t"
        );
        assert!(
            source(None)
                .watch_path("7")
                .starts_with("/api/v1/pods?watch=true&allowWatchBookmarks=true&timeout")
        );
        assert!(source(Some("a")).watch_path("7").ends_with("&resourceVersion=7"));
    }
}
