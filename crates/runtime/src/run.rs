//! The whole operator: watches, queue, leadership, pages, and the order in which they begin and end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::framework::ExtraKind;
use common::gang::Gang;
use common::plan::ChildKind;
use common::{Framework, JobKey, Settings, names};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access;
use crate::admin::{self, Admin};
use crate::apply::ApplyContext;
use crate::client::{self, Api, ConnectError, Gate};
use crate::clock::Clock;
use crate::events;
use crate::gang_discovery::{self, GangChoice};
use crate::lease::{self, Leadership, LeaseOptions};
use crate::metrics::{Metrics, ObjectCounts, ReconcileOutcome};
use crate::queue::{self, Limits, RunFailure};
use crate::reconcile::Reconciler;
use crate::resource::{AUTOSCALERS, BATCH_JOBS, NODES, PODS, Resource, SERVICES};
use crate::state::State;
use crate::view::View;
use crate::watch::{self, Shape, Source, Watch};

/// A reconcile that takes longer waits for an answer, and makes room for another.
const PATIENCE: Duration = Duration::from_secs(5);
/// With those there are so many times as many reconciles at most.
const STUCK: usize = 4;
/// Longest time for one reconcile.
const DEADLINE: Duration = Duration::from_mins(1);
/// Time that reconciles get to end after a SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);
/// Between two looks for writes that stay invisible.
const LOOK: Duration = Duration::from_secs(1);

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The one namespace whose jobs are run; all if absent.
    pub namespace: Option<String>,
    /// Reconciles at a time, not counting those that have waited for an answer for some seconds.
    pub concurrency: usize,
    /// Settings that change what pods and services look like; which gang scheduler there is, is found out.
    pub settings: Settings,
    /// Which gang scheduler is wanted.
    pub gang: GangChoice,
    /// Address of the metrics, such as `:8080`; `0` for none.
    pub metrics_address: String,
    /// Address of the probes.
    pub probe_address: String,
    /// The lease by which one of several operators is chosen; absent if there is only one.
    pub lease: Option<LeaseOptions>,
    /// Name of this process in events.
    pub instance: String,
}

/// Why the operator ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was told to.
    Stopped,
    /// It does not lead any more.
    LeaseLost,
}

/// Why the operator could not run.
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

/// Resolves when leadership is lost; never, if there is no lease.
async fn elect(
    api: &Api,
    clock: &Clock,
    lease: Option<&LeaseOptions>,
    leadership: &Leadership,
    leads: &CancellationToken,
) {
    if let Some(options) = lease {
        lease::run(api, clock, options, leadership, leads).await;
    } else {
        std::future::pending::<()>().await;
    }
}

/// Connections to the API server. Long answers to lists must not hold up writes, nor either of them the lease.
struct Connections {
    metrics: Metrics,
    leadership: Leadership,
    /// Cancelled when this process begins to lead.
    leads: CancellationToken,
    writes: Api,
    reads: Api,
    lease: Api,
    clock: Clock,
}

impl Connections {
    /// `connect` makes a client.
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
        let view = View::new(
            frameworks
                .iter()
                .map(|f| (Resource::jobs(f.kind()), f.kind().kind)),
        );
        let state = Arc::new(State::new(view, self.metrics.clone(), self.clock.clone()));
        let (watches, fresh) = self.watch(&mut background, &state, sources(&options, &frameworks));
        let gang = self.find_gang(&mut background, &state, &options, &frameworks);
        let pages = self.pages(&state, &watches, &gang);
        let pages = admin::serve(pages, &options.metrics_address, &options.probe_address);

        let Connections {
            writes,
            lease,
            metrics,
            leadership,
            leads,
            clock,
            ..
        } = self;
        let (events, send_events) =
            events::channel(writes.clone(), metrics.clone(), clock.clone(), &options.instance);
        background.spawn(send_events);
        let ctx = ApplyContext {
            api: writes,
            state: Arc::clone(&state),
            events,
            metrics: metrics.clone(),
        };
        let limits = Limits {
            concurrency: options.concurrency.max(1),
            most: options.concurrency.max(1).saturating_mul(STUCK),
            patience: PATIENCE,
            deadline: DEADLINE,
            drain: DRAIN,
        };
        let work = async {
            let lists = futures::future::join_all(fresh.iter().map(CancellationToken::cancelled));
            let ready = async { tokio::join!(gang.found(), lists, leads.cancelled()).0 };
            let gang = tokio::select! {
                () = stop.cancelled() => return,
                gang = ready => gang,
            };
            let settings = Settings {
                gang,
                ..options.settings.clone()
            };
            let reconciler = Arc::new(Reconciler {
                ctx,
                frameworks,
                settings,
            });
            serve_queue(&state, limits, &stop, &reconciler, &metrics).await;
        };
        tokio::select! {
            biased;
            ended = pages => ended.map_err(RunError::Admin).map(|()| Exit::Stopped),
            () = elect(&lease, &clock, options.lease.as_ref(), &leadership, &leads) => {
                tracing::error!("lease lost; this process must not write any more");
                Ok(Exit::LeaseLost)
            }
            Some(_) = background.join_next() => Err(RunError::Ended),
            () = work => {
                if let Some(options) = options.lease.as_ref().filter(|_| leadership.is_open()) {
                    lease::release(&lease, options, &leadership).await;
                }
                Ok(Exit::Stopped)
            }
        }
    }

    /// Begins the watches; each token is cancelled once its watch has listed, those of the second kind once it has as the
    /// leader. Nodes are not waited for: they may be none of our business.
    fn watch(
        &self,
        background: &mut JoinSet<()>,
        state: &Arc<State>,
        sources: BTreeMap<Resource, Source>,
    ) -> (Vec<(&'static str, CancellationToken)>, Vec<CancellationToken>) {
        let watch = |source: &Source| {
            let watch = self.watch_of(state, source.clone());
            let (listed, fresh) = (watch.listed.clone(), watch.fresh.clone());
            background.spawn(watch.run());
            (source.resource, listed, fresh)
        };
        let watches = sources.values().map(watch);
        let watches = watches
            .filter(|(resource, ..)| *resource != NODES)
            .map(|(resource, listed, fresh)| ((resource.plural, listed), fresh))
            .unzip();
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
            fresh: CancellationToken::new(),
            reported: false,
        }
    }

    fn look_up(&self, background: &mut JoinSet<()>, state: &Arc<State>, sources: BTreeMap<Resource, Source>) {
        let (api, metrics) = (self.reads.clone(), self.metrics.clone());
        background.spawn(look_up_invisible(api, Arc::clone(state), metrics, sources));
    }

    /// Begins to ask for the gang scheduler, and to watch what it needs once that is known.
    fn find_gang(
        &self,
        background: &mut JoinSet<()>,
        state: &Arc<State>,
        options: &Options,
        frameworks: &[&'static dyn Framework],
    ) -> FoundGang {
        let (api, choice) = (self.reads.clone(), options.gang.clone());
        let ours = selector(frameworks);
        let of_api = |of| gang_discovery::sources(of, options.namespace.as_deref(), &ours);
        let sources: Vec<Source> = choice.api().map(of_api).unwrap_or_default();
        let watches: Vec<Watch> = sources.iter().map(|s| self.watch_of(state, s.clone())).collect();
        let known = CancellationToken::new();
        let of_watch = |watch: &Watch| (watch.source.resource.plural, watch.listed.clone());
        let listed = std::iter::once(("gang scheduler", known.clone()));
        let listed = listed.chain(watches.iter().map(of_watch)).collect();
        let fresh = watches.iter().map(|watch| watch.fresh.clone()).collect();
        let (sender, receiver) = oneshot::channel();
        background.spawn(async move {
            let gang = gang_discovery::resolve(&api, choice).await;
            known.cancel();
            let on = gang != Gang::None;
            if !on {
                // Nothing is watched, so nothing is waited for.
                for watch in &watches {
                    watch.done_without();
                }
            }
            let watches = watches.into_iter().filter(|_| on).map(Watch::run);
            let _ = sender.send(gang);
            futures::future::join_all(watches).await;
            std::future::pending::<()>().await;
        });
        let by_resource = sources.into_iter().map(|source| (source.resource, source));
        self.look_up(background, state, by_resource.collect());
        FoundGang {
            gang: receiver,
            listed,
            fresh,
        }
    }

    fn pages(
        &self,
        state: &Arc<State>,
        watches: &[(&'static str, CancellationToken)],
        gang: &FoundGang,
    ) -> Arc<Admin> {
        Arc::new(Admin {
            registry: self.metrics.registry(),
            metrics: self.metrics.clone(),
            state: Arc::clone(state),
            leadership: self.leadership.clone(),
            watches: [watches, &gang.listed].concat(),
        })
    }
}

/// The gang scheduler, once it is known.
struct FoundGang {
    gang: oneshot::Receiver<Gang>,
    /// Cancelled once it is known and what it needs is listed.
    listed: Vec<(&'static str, CancellationToken)>,
    /// Cancelled once what it needs is listed as the leader.
    fresh: Vec<CancellationToken>,
}

impl FoundGang {
    /// Waits for it, and for what it needs.
    async fn found(self) -> Gang {
        // The other end is never dropped while the operator runs.
        let gang = self.gang.await.unwrap_or_default();
        futures::future::join_all(self.fresh.iter().map(CancellationToken::cancelled)).await;
        gang
    }
}

/// Selects the operator's own objects, as it stands in a URL: "name in (a,b)".
fn selector(frameworks: &[&'static dyn Framework]) -> String {
    let kinds = access::all_dialects(frameworks);
    let controllers: Vec<_> = kinds.iter().map(|kind| kind.controller).collect();
    let key = names::OPERATOR_NAME.replace('/', "%2F");
    format!("{key}%20in%20%28{}%29", controllers.join("%2C"))
}

/// What is watched: the jobs of each kind, the pods, services, batch Jobs and so on of all of them together, and nodes.
fn sources(options: &Options, frameworks: &[&'static dyn Framework]) -> BTreeMap<Resource, Source> {
    let kinds = access::all_dialects(frameworks);
    let ours = selector(frameworks);
    let source = |resource, shape, selector| {
        (
            resource,
            Source {
                resource,
                shape,
                namespace: options.namespace.clone(),
                selector,
            },
        )
    };
    let jobs = frameworks
        .iter()
        .map(|f| source(Resource::jobs(f.kind()), Shape::Job(f.kind()), None));
    let children = [
        source(PODS, Shape::Pod, Some(ours.clone())),
        source(SERVICES, Shape::Child(ChildKind::Service), Some(ours.clone())),
    ];
    let optional = [
        (ExtraKind::BatchJob, BATCH_JOBS, Shape::BatchJob),
        (
            ExtraKind::Autoscaler,
            AUTOSCALERS,
            Shape::Child(ChildKind::Autoscaler),
        ),
    ];
    let made = optional
        .into_iter()
        .filter(|(made, ..)| kinds.iter().any(|kind| kind.makes.contains(made)));
    let made = made.map(|(_, resource, shape)| source(resource, shape, Some(ours.clone())));
    let nodes = options.settings.node_lost_after.map(|_| {
        let whole = Source {
            resource: NODES,
            shape: Shape::Node,
            namespace: None,
            selector: None,
        };
        (NODES, whole)
    });
    jobs.chain(children).chain(made).chain(nodes).collect()
}

async fn look_up_invisible(
    api: Api,
    state: Arc<State>,
    metrics: Metrics,
    sources: BTreeMap<Resource, Source>,
) {
    loop {
        tokio::time::sleep(LOOK).await;
        for (key, watermark) in state.overdue() {
            if let Some(source) = sources.get(&watermark.resource) {
                metrics.looked_up();
                watch::look_up(&api, source.shape, &state, &key, &watermark).await;
            }
        }
    }
}

async fn serve_queue(
    state: &State,
    limits: Limits,
    stop: &CancellationToken,
    reconciler: &Arc<Reconciler>,
    metrics: &Metrics,
) {
    let ObjectCounts { jobs, pods, services } = state.counts();
    tracing::info!(
        jobs,
        pods,
        services,
        "leading, and all watches have listed since: beginning to work"
    );
    state.queue().open();
    let work = |key: JobKey| {
        let reconciler = Arc::clone(reconciler);
        async move { reconciler.reconcile(key).await }
    };
    let failed = |key: &JobKey, what: RunFailure| {
        let (result, text) = match what {
            RunFailure::Panic => (ReconcileOutcome::panic, "pass panicked"),
            RunFailure::Deadline => (ReconcileOutcome::deadline, "pass took too long"),
        };
        metrics.reconciled(result, None);
        tracing::error!(kind = key.kind, namespace = %key.namespace, name = %key.name, "{text}");
    };
    let turn = || reconciler.ctx.api.is_busy();
    queue::serve(state.queue(), limits, stop.cancelled(), turn, work, failed).await;
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
    async fn who_waits_for_the_gang_scheduler_is_not_ready() {
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
        let pages = connections.pages(&state, &[("pods", CancellationToken::new())], &gang);
        let waiting = || {
            let waiting = pages.watches.iter().filter(|(_, listed)| !listed.is_cancelled());
            waiting.map(|(name, _)| *name).collect::<Vec<_>>()
        };
        assert_eq!(waiting(), ["pods", "gang scheduler", "podgroups"]);
        assert_eq!(gang.found().await, Gang::None);
        assert_eq!(waiting(), ["pods"]);
    }
}
