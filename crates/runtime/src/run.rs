//! The operator as a whole: watches, queue, leadership, pages, and the order in which they start and end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::gang::Gang;
use common::{Framework, JobKey, Settings};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::apply::ApplyContext;
use crate::client::{self, Api, ConnectError, Gate};
use crate::clock::Clock;
use crate::gang_discovery::{self, GangChoice};
use crate::lease::{self, Leadership, LeaseOptions};
use crate::metrics::{Metrics, ObjectCounts, ReconcileOutcome};
use crate::queue::{self, Limits, RunFailure};
use crate::reconcile::Reconciler;
use crate::resource::{NODES, Resource};
use crate::source::{self, Source};
use crate::state::State;
use crate::view::View;
use crate::watch::Watch;
use crate::{events, lookup};

/// Time after which a reconcile counts as waiting for a response, and makes room for another.
const PATIENCE: Duration = Duration::from_secs(5);
/// Factor by which the number of reconciles at a time may exceed the configured one, with those that wait for responses.
const STUCK: usize = 4;
/// Longest time for one reconcile.
const DEADLINE: Duration = Duration::from_mins(1);
/// Time that reconciles get to end after a SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// Options of the operator.
#[derive(Debug, Clone)]
pub struct Options {
    /// Namespace whose jobs are run; all namespaces if absent.
    pub namespace: Option<String>,
    /// Number of reconciles at a time, not counting those that have waited for a response for some seconds.
    pub concurrency: usize,
    /// Settings that change what pods and services look like. The gang scheduler in them is overwritten by the one found.
    pub settings: Settings,
    /// Choice of the gang scheduler.
    pub gang: GangChoice,
    /// Address of the metrics, such as `:8080`; `0` for none.
    pub metrics_address: String,
    /// Address of the probes.
    pub probe_address: String,
    /// Lease by which one of several operators is elected; absent if there is only one.
    pub lease: Option<LeaseOptions>,
    /// Name of this process in events.
    pub instance: String,
}

/// Reason for which the operator ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was stopped.
    Stopped,
    /// It is not the leader any more.
    LeaseLost,
}

/// Error of running the operator.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No client.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The pages cannot be served.
    #[error("metrics and probes: {0}")]
    Admin(#[from] std::io::Error),
    /// A watch or another task that never ends has ended.
    #[error("a task that never ends has ended, see the log above")]
    Ended,
}

/// Runs until `stop` is cancelled or leadership is lost.
///
/// # Errors
/// If there is no usable client configuration, or an address is taken.
pub async fn run(
    options: Options,
    frameworks: Vec<&'static dyn Framework>,
    stop: CancellationToken,
) -> Result<Exit, RunError> {
    let config = client::configure().await?;
    let connections = Connections::open(|| client::connect(&config), Clock::default(), &options)?;
    connections.serve(options, frameworks, stop).await
}

/// Like [`run`], with a given client and clock: for simulated clusters.
///
/// # Errors
/// If an address is taken.
pub async fn run_with(
    client: kube::Client,
    clock: Clock,
    options: Options,
    frameworks: Vec<&'static dyn Framework>,
    stop: CancellationToken,
) -> Result<Exit, RunError> {
    let connections = Connections::open(|| Ok(client.clone()), clock, &options)?;
    connections.serve(options, frameworks, stop).await
}

/// Connections to the API server. Long responses to lists must not hold up writes, nor either of them the lease.
struct Connections {
    metrics: Metrics,
    leadership: Leadership,
    /// Cancelled when this process becomes the leader.
    leads: CancellationToken,
    writes: Api,
    reads: Api,
    lease: Api,
    clock: Clock,
}

/// Tokens of watches.
#[derive(Default)]
struct Watches {
    /// Cancelled once the watch has listed; with names for the page of readiness.
    listed: Vec<(&'static str, CancellationToken)>,
    /// Cancelled once the watch has listed as the leader.
    listed_as_leader: Vec<CancellationToken>,
}

impl Watches {
    fn add(&mut self, watch: &Watch) {
        self.listed
            .push((watch.source.resource.plural, watch.listed.clone()));
        self.listed_as_leader.push(watch.listed_as_leader.clone());
    }
}

/// The gang scheduler, once it is known.
struct FoundGang {
    gang: oneshot::Receiver<Gang>,
    /// Watches of its resources; `listed` has a token for the discovery as well.
    watches: Watches,
}

impl FoundGang {
    /// Waits for the gang scheduler, and for the lists of its resources.
    async fn found(self) -> Gang {
        // The sender is never dropped while the operator runs.
        let gang = self.gang.await.unwrap_or_default();
        all_cancelled(&self.watches.listed_as_leader).await;
        gang
    }
}

impl Connections {
    /// Opens connections by clients that `connect` makes.
    fn open(
        connect: impl Fn() -> Result<kube::Client, ConnectError>,
        clock: Clock,
        options: &Options,
    ) -> Result<Self, ConnectError> {
        let metrics = Metrics::default();
        let leadership = if options.lease.is_some() {
            Leadership::default()
        } else {
            Leadership::always()
        };
        let api = |gate: &Leadership| {
            Ok::<_, ConnectError>(Api::new(connect()?, metrics.clone(), Arc::new(gate.clone())))
        };
        let (writes, reads, lease) = (
            api(&leadership)?,
            api(&Leadership::always())?,
            api(&Leadership::always())?,
        );
        let leads = CancellationToken::new();
        if options.lease.is_none() {
            leads.cancel();
        }
        Ok(Self {
            metrics,
            leadership,
            leads,
            writes,
            reads,
            lease,
            clock,
        })
    }

    /// Runs until `stop` is cancelled or leadership is lost.
    async fn serve(
        self,
        options: Options,
        frameworks: Vec<&'static dyn Framework>,
        stop: CancellationToken,
    ) -> Result<Exit, RunError> {
        let mut background = JoinSet::new();
        let kinds = frameworks
            .iter()
            .map(|f| (Resource::jobs(f.kind()), f.kind().kind));
        let view = View::new(kinds);
        let state = Arc::new(State::new(view, self.metrics.clone(), self.clock.clone()));
        let with_nodes = options.settings.node_lost_after.is_some();
        let sources = source::sources(&frameworks, options.namespace.as_deref(), with_nodes);
        let watches = self.watch(&mut background, &state, sources);
        let gang = self.find_gang(&mut background, &state, &options, &frameworks);
        let pages = self.pages(&state, &watches, &gang);
        let pages = admin::serve(pages, &options.metrics_address, &options.probe_address);
        let ctx = self.apply_context(&mut background, &state, &options.instance);
        let work = async {
            let lists = all_cancelled(&watches.listed_as_leader);
            let ready = async { tokio::join!(gang.found(), lists, self.leads.cancelled()).0 };
            let gang = tokio::select! {
                () = stop.cancelled() => return,
                gang = ready => gang,
            };
            let settings = Settings {
                gang,
                ..options.settings.clone()
            };
            let reconciler = Reconciler {
                ctx,
                frameworks,
                settings,
            };
            serve_queue(options.concurrency, &stop, &Arc::new(reconciler)).await;
        };
        tokio::select! {
            biased;
            ended = pages => ended.map_err(RunError::Admin).map(|()| Exit::Stopped),
            () = self.elect(options.lease.as_ref()) => {
                tracing::error!("lease lost; this process must not write any more");
                Ok(Exit::LeaseLost)
            }
            Some(_) = background.join_next() => Err(RunError::Ended),
            () = work => {
                if let Some(options) = options.lease.as_ref().filter(|_| self.leadership.is_open()) {
                    lease::release(&self.lease, options, &self.leadership).await;
                }
                Ok(Exit::Stopped)
            }
        }
    }

    /// Takes part in the election. Returns when leadership is lost; never, if there is no lease.
    async fn elect(&self, lease: Option<&LeaseOptions>) {
        if let Some(options) = lease {
            lease::run(&self.lease, &self.clock, options, &self.leadership, &self.leads).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Starts the watches. Start-up waits for all of them but nodes, which the operator may have no right to read.
    fn watch(
        &self,
        background: &mut JoinSet<()>,
        state: &Arc<State>,
        sources: BTreeMap<Resource, Source>,
    ) -> Watches {
        let mut watches = Watches::default();
        for source in sources.values() {
            let watch = self.watch_of(state, source.clone());
            if source.resource != NODES {
                watches.add(&watch);
            }
            background.spawn(watch.run());
        }
        self.look_up(background, state, sources);
        watches
    }

    fn watch_of(&self, state: &Arc<State>, source: Source) -> Watch {
        Watch {
            source,
            api: self.reads.clone(),
            state: Arc::clone(state),
            metrics: self.metrics.clone(),
            listed: CancellationToken::new(),
            leads: self.leads.clone(),
            listed_as_leader: CancellationToken::new(),
            reported: false,
        }
    }

    fn look_up(&self, background: &mut JoinSet<()>, state: &Arc<State>, sources: BTreeMap<Resource, Source>) {
        let (api, metrics) = (self.reads.clone(), self.metrics.clone());
        background.spawn(lookup::run(api, Arc::clone(state), metrics, sources));
    }

    /// Starts the discovery of the gang scheduler, and the watches of its resources once it is known.
    fn find_gang(
        &self,
        background: &mut JoinSet<()>,
        state: &Arc<State>,
        options: &Options,
        frameworks: &[&'static dyn Framework],
    ) -> FoundGang {
        let (api, choice) = (self.reads.clone(), options.gang.clone());
        let of_api = |api| source::gang_sources(api, frameworks, options.namespace.as_deref());
        let sources: Vec<Source> = choice.api().map(of_api).unwrap_or_default();
        let watches: Vec<Watch> = sources.iter().map(|s| self.watch_of(state, s.clone())).collect();
        let known = CancellationToken::new();
        let mut tokens = Watches {
            listed: vec![("gang scheduler", known.clone())],
            listed_as_leader: Vec::new(),
        };
        for watch in &watches {
            tokens.add(watch);
        }
        let (sender, receiver) = oneshot::channel();
        background.spawn(async move {
            let gang = gang_discovery::resolve(&api, choice).await;
            known.cancel();
            let needed = gang != Gang::None;
            if !needed {
                // Nothing is watched, so start-up waits for nothing.
                watches.iter().for_each(Watch::unblock_start);
            }
            let watches = watches.into_iter().filter(|_| needed).map(Watch::run);
            let _ = sender.send(gang);
            futures::future::join_all(watches).await;
            std::future::pending::<()>().await;
        });
        let by_resource = sources.into_iter().map(|source| (source.resource, source));
        self.look_up(background, state, by_resource.collect());
        FoundGang {
            gang: receiver,
            watches: tokens,
        }
    }

    fn pages(&self, state: &Arc<State>, watches: &Watches, gang: &FoundGang) -> Arc<Admin> {
        Arc::new(Admin {
            registry: self.metrics.registry(),
            metrics: self.metrics.clone(),
            state: Arc::clone(state),
            leadership: self.leadership.clone(),
            watches: [&*watches.listed, &gang.watches.listed].concat(),
        })
    }

    /// The context of writes; starts the task that sends events.
    fn apply_context(
        &self,
        background: &mut JoinSet<()>,
        state: &Arc<State>,
        instance: &str,
    ) -> ApplyContext {
        let (api, metrics) = (self.writes.clone(), self.metrics.clone());
        let (events, send_events) =
            events::channel(api.clone(), metrics.clone(), self.clock.clone(), instance);
        background.spawn(send_events);
        ApplyContext {
            api,
            state: Arc::clone(state),
            events,
            metrics,
        }
    }
}

/// Waits until all tokens are cancelled.
async fn all_cancelled(tokens: &[CancellationToken]) {
    futures::future::join_all(tokens.iter().map(CancellationToken::cancelled)).await;
}

/// Opens the queue, and reconciles jobs until `stop` is cancelled.
async fn serve_queue(concurrency: usize, stop: &CancellationToken, reconciler: &Arc<Reconciler>) {
    let ApplyContext {
        api, state, metrics, ..
    } = &reconciler.ctx;
    let ObjectCounts { jobs, pods, services } = state.counts();
    tracing::info!(
        jobs,
        pods,
        services,
        "leading, and all watches have listed since: beginning to work"
    );
    state.queue().open();
    let concurrency = concurrency.max(1);
    let limits = Limits {
        concurrency,
        most: concurrency.saturating_mul(STUCK),
        patience: PATIENCE,
        deadline: DEADLINE,
        drain: DRAIN,
    };
    let work = |key: JobKey| {
        let reconciler = Arc::clone(reconciler);
        async move { reconciler.reconcile(key).await }
    };
    let on_failure = |key: &JobKey, failure: RunFailure| {
        let (outcome, text) = match failure {
            RunFailure::Panic => (ReconcileOutcome::panic, "reconcile panicked"),
            RunFailure::Deadline => (ReconcileOutcome::deadline, "reconcile took too long"),
        };
        metrics.reconciled(outcome, None);
        tracing::error!(kind = key.kind, namespace = %key.namespace, name = %key.name, "{text}");
    };
    let writes_wait = || api.is_busy();
    queue::serve(
        state.queue(),
        limits,
        stop.cancelled(),
        writes_wait,
        work,
        on_failure,
    )
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections to an API server that serves nothing.
    fn connections() -> Connections {
        let client = kube::Client::new(axum::Router::new(), "default");
        let metrics = Metrics::default();
        let api = || Api::new(client.clone(), metrics.clone(), Arc::new(Leadership::always()));
        Connections {
            writes: api(),
            reads: api(),
            lease: api(),
            leadership: Leadership::always(),
            leads: CancellationToken::new(),
            metrics: metrics.clone(),
            clock: Clock::default(),
        }
    }

    #[tokio::test]
    async fn while_the_gang_scheduler_is_unknown_the_operator_is_not_ready() {
        let options = Options {
            namespace: None,
            concurrency: 1,
            settings: Settings::default(),
            gang: GangChoice::Auto,
            metrics_address: "0".to_owned(),
            probe_address: "0".to_owned(),
            lease: None,
            instance: String::new(),
        };
        let connections = connections();
        let state = Arc::new(State::new(
            View::new([]),
            connections.metrics.clone(),
            Clock::default(),
        ));
        let mut background = JoinSet::new();
        let gang = connections.find_gang(&mut background, &state, &options, &[]);
        let watches = Watches {
            listed: vec![("pods", CancellationToken::new())],
            listed_as_leader: Vec::new(),
        };
        let pages = connections.pages(&state, &watches, &gang);
        let waiting = || {
            let waiting = pages.watches.iter().filter(|(_, listed)| !listed.is_cancelled());
            waiting.map(|(name, _)| *name).collect::<Vec<_>>()
        };
        assert_eq!(waiting(), ["pods", "gang scheduler", "podgroups"]);
        assert_eq!(gang.found().await, Gang::None);
        assert_eq!(waiting(), ["pods"]);
    }
}
