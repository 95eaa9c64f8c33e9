//! All metrics of the operator, with their help texts. Label values come from enums and static tables, never from names of objects;
//! the one exception is `job_namespace`, which upstream's dashboards need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::plan::Counter as JobCounter;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

/// Labels of upstream's counters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job_namespace: String,
    framework: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: ReconcileOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    resource: &'static str,
}

/// Outcome of a reconcile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "label values are lower case")]
pub(crate) enum ReconcileOutcome {
    /// All writes went through.
    ok,
    /// The job is gone.
    gone,
    /// A retry may help.
    transient,
    /// Another client changed the job at the same time.
    conflict,
    /// The API server forbids a write.
    forbidden,
    /// The API server says that an object is not valid, or its name is taken.
    invalid,
    /// It took too long.
    deadline,
    /// It panicked.
    panic,
}

/// Number of objects held in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ObjectCounts {
    /// Jobs.
    pub(crate) jobs: usize,
    /// Pods.
    pub(crate) pods: usize,
    /// Services.
    pub(crate) services: usize,
}

/// All metrics. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    created: Family<JobLabels, Counter>,
    deleted: Family<JobLabels, Counter>,
    successful: Family<JobLabels, Counter>,
    failed: Family<JobLabels, Counter>,
    restarted: Family<JobLabels, Counter>,
    reconcile_seconds: Seconds,
    reconciles: Family<ResultLabels, Counter>,
    panics: Counter,
    deferred: Counter,
    lookups: Counter,
    lost_events: Counter,
    requests: Family<RequestLabels, Counter>,
    watch_events: Family<WatchLabels, Counter>,
    watch_restarts: Family<WatchLabels, Counter>,
    watch_errors: Family<WatchLabels, Counter>,
    unreadable: Family<WatchLabels, Counter>,
    watch_idle: Family<WatchLabels, Gauge>,
    last_event: Arc<Mutex<HashMap<&'static str, Instant>>>,
    objects: Family<WatchLabels, Gauge>,
    queue_depth: Gauge,
    leader: Gauge,
}

/// A histogram of durations.
#[derive(Debug, Clone)]
struct Seconds(Histogram);

impl Default for Seconds {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.001, 2.0, 16)))
    }
}

impl Metrics {
    /// Creates a registry of all metrics. The exposition appends `_total` to the names of counters.
    pub(crate) fn registry(&self) -> Registry {
        let mut all = Registry::default();
        self.register_jobs(all.sub_registry_with_prefix("training_operator_jobs"));
        let own = all.sub_registry_with_prefix("trainyard");
        self.register_reconciles(own);
        self.register_traffic(own);
        all
    }

    fn register_jobs(&self, jobs: &mut Registry) {
        jobs.register("created", "Counts number of jobs created", self.created.clone());
        jobs.register(
            "deleted",
            "Counts number of jobs deleted by their time to live",
            self.deleted.clone(),
        );
        jobs.register(
            "successful",
            "Counts number of jobs successful",
            self.successful.clone(),
        );
        jobs.register("failed", "Counts number of jobs failed", self.failed.clone());
        jobs.register(
            "restarted",
            "Counts number of restarts of jobs",
            self.restarted.clone(),
        );
    }

    fn register_reconciles(&self, own: &mut Registry) {
        own.register(
            "reconcile_duration_seconds",
            "Duration of a pass over one job",
            self.reconcile_seconds.0.clone(),
        );
        own.register(
            "reconciles",
            "Passes over one job, by how they ended",
            self.reconciles.clone(),
        );
        own.register("panics", "Passes that panicked", self.panics.clone());
        own.register(
            "reconciles_deferred",
            "Jobs held until the watches showed our own writes",
            self.deferred.clone(),
        );
        own.register(
            "lookups",
            "Objects looked up because a write of ours stayed invisible",
            self.lookups.clone(),
        );
        own.register(
            "events_lost",
            "Kubernetes events that could not be sent",
            self.lost_events.clone(),
        );
    }

    fn register_traffic(&self, own: &mut Registry) {
        own.register(
            "api_requests",
            "Requests to the API server; code 0 is no answer",
            self.requests.clone(),
        );
        own.register("watch_events", "Events received", self.watch_events.clone());
        own.register(
            "watch_restarts",
            "Watches begun anew",
            self.watch_restarts.clone(),
        );
        own.register(
            "watch_errors",
            "Lists and watches that failed",
            self.watch_errors.clone(),
        );
        own.register(
            "unreadable_objects",
            "Objects that could not be read and were skipped",
            self.unreadable.clone(),
        );
        own.register(
            "watch_idle_seconds",
            "Seconds since the last event, bookmark or list",
            self.watch_idle.clone(),
        );
        own.register("objects", "Objects held in memory", self.objects.clone());
        own.register(
            "queue_depth",
            "Jobs that wait for a free place",
            self.queue_depth.clone(),
        );
        own.register("leader", "Whether this process leads", self.leader.clone());
    }

    /// Counts a transition of a job.
    pub(crate) fn job(&self, counter: JobCounter, namespace: &str, framework: &'static str) {
        let family = match counter {
            JobCounter::Created => &self.created,
            JobCounter::Deleted => &self.deleted,
            JobCounter::Succeeded => &self.successful,
            JobCounter::Failed => &self.failed,
            JobCounter::Restarted => &self.restarted,
        };
        family
            .get_or_create(&JobLabels {
                job_namespace: namespace.to_owned(),
                framework,
            })
            .inc();
    }

    /// Counts a reconcile that has ended.
    pub(crate) fn reconciled(&self, result: ReconcileOutcome, took: Option<Duration>) {
        self.reconciles.get_or_create(&ResultLabels { result }).inc();
        if result == ReconcileOutcome::panic {
            self.panics.inc();
        }
        if let Some(took) = took {
            self.reconcile_seconds.0.observe(took.as_secs_f64());
        }
    }

    /// Counts a job that is deferred until the view shows our own writes.
    pub(crate) fn deferred(&self) {
        self.deferred.inc();
    }

    /// Counts an object that was looked up.
    pub(crate) fn looked_up(&self) {
        self.lookups.inc();
    }

    /// Counts a Kubernetes event that could not be sent.
    pub(crate) fn event_lost(&self) {
        self.lost_events.inc();
    }

    /// Counts a request by the code of its response; 0 if there was none.
    pub(crate) fn request(&self, verb: &'static str, resource: &'static str, code: u16) {
        self.requests
            .get_or_create(&RequestLabels { verb, resource, code })
            .inc();
    }

    /// Counts an event, bookmark or list of a watch.
    pub(crate) fn watch_event(&self, resource: &'static str) {
        self.watch_events.get_or_create(&WatchLabels { resource }).inc();
        self.last_event
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(resource, Instant::now());
    }

    /// Counts a restart of a watch.
    pub(crate) fn watch_restarted(&self, resource: &'static str) {
        self.watch_restarts.get_or_create(&WatchLabels { resource }).inc();
    }

    /// Counts a list or watch that failed.
    pub(crate) fn watch_failed(&self, resource: &'static str) {
        self.watch_errors.get_or_create(&WatchLabels { resource }).inc();
    }

    /// Counts an object that could not be read.
    pub(crate) fn unreadable(&self, resource: &'static str) {
        self.unreadable.get_or_create(&WatchLabels { resource }).inc();
    }

    /// Sets the gauges that are measured only when the metrics are read.
    pub(crate) fn refresh(&self, counts: ObjectCounts, depth: usize, leads: bool) {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let ObjectCounts { jobs, pods, services } = counts;
        for (resource, n) in [("jobs", jobs), ("pods", pods), ("services", services)] {
            self.objects
                .get_or_create(&WatchLabels { resource })
                .set(number(n));
        }
        self.queue_depth.set(number(depth));
        self.leader.set(i64::from(leads));
        let last = self.last_event.lock().unwrap_or_else(PoisonError::into_inner);
        for (resource, at) in last.iter() {
            let idle = i64::try_from(at.elapsed().as_secs()).unwrap_or(i64::MAX);
            self.watch_idle.get_or_create(&WatchLabels { resource }).set(idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams() {
        let metrics = Metrics::default();
        metrics.job(JobCounter::Created, "team", "pytorch");
        metrics.reconciled(ReconcileOutcome::ok, None);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
        let line = "training_operator_jobs_created_total{job_namespace=\"team\",framework=\"pytorch\"} 1";
        assert!(text.contains(line), "{text}");
        assert!(
            text.contains("trainyard_reconciles_total{result=\"ok\"} 1"),
            "{text}"
        );
    }
}
