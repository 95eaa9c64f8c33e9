//! Kubernetes events about jobs. They are sent in the background: events may be late or lost, reconciles may not wait for them.
//!
//! Own code rather than kube's recorder, for the channel: a full one drops events, and the drops are counted.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use common::plan::EventType;
use common::{Event as PlannedEvent, KindInfo, RawJob};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tokio::sync::mpsc;

use crate::client::Api;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::resource::EVENTS;

/// Number of events that may wait to be sent.
const WAITING: usize = 4096;
/// Number of events that are sent at a time.
const IN_FLIGHT: usize = 4;
/// Longest message that the API server accepts.
const LONGEST: usize = 1024;

/// Sender of events.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<Event>,
    metrics: Metrics,
    clock: Clock,
    instance: Arc<str>,
}

/// A channel for events, and the task that empties it.
pub(crate) fn channel(
    api: Api,
    metrics: Metrics,
    clock: Clock,
    instance: &str,
) -> (Events, impl Future<Output = ()> + use<>) {
    let (sender, receiver) = mpsc::channel::<Event>(WAITING);
    let lost = metrics.clone();
    let stream = futures::stream::unfold(receiver, async |mut r| r.recv().await.map(|event| (event, r)));
    let send = stream.for_each_concurrent(IN_FLIGHT, move |event| {
        let (api, lost) = (api.clone(), lost.clone());
        async move {
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            if let Err(error) = api.create(EVENTS, &namespace, &event).await {
                lost.event_lost();
                tracing::debug!(%error, reason = event.reason, "event lost");
            }
        }
    });
    (
        Events {
            sender,
            metrics,
            clock,
            instance: instance.into(),
        },
        send,
    )
}

impl Events {
    /// Sends an event about a job, or drops it if too many wait already.
    pub(crate) fn send(&self, kind: &KindInfo, job: &RawJob, planned: &PlannedEvent) {
        let event = event(kind, job, planned, &self.instance, self.clock.now());
        if self.sender.try_send(event).is_err() {
            self.metrics.event_lost();
        }
    }
}

fn event(kind: &KindInfo, job: &RawJob, planned: &PlannedEvent, instance: &str, now: Timestamp) -> Event {
    let mut hash = DefaultHasher::new();
    (
        job.uid.as_str(),
        &planned.reason,
        &planned.message,
        now.as_nanosecond(),
    )
        .hash(&mut hash);
    let time = Some(Time(now));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:016x}", job.key.name, hash.finish())),
            namespace: Some(job.key.namespace.to_string()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(kind.api_version()),
            kind: Some(kind.kind.to_owned()),
            namespace: Some(job.key.namespace.to_string()),
            name: Some(job.key.name.to_string()),
            uid: Some(job.uid.to_string()),
            resource_version: Some(job.resource_version.clone()),
            field_path: None,
        },
        type_: Some(match planned.kind {
            EventType::Normal => "Normal".to_owned(),
            EventType::Warning => "Warning".to_owned(),
        }),
        reason: Some(planned.reason.clone()),
        message: Some(planned.message.chars().take(LONGEST).collect()),
        source: Some(EventSource {
            component: Some(kind.controller.to_owned()),
            host: None,
        }),
        reporting_component: Some(kind.controller.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        count: Some(1),
        first_timestamp: time.clone(),
        last_timestamp: time,
        ..Event::default()
    }
}
