//! A cluster in memory: the API server, Kubernetes' controllers, and an invariant checker that sees every change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::Framework;
use common::gang::PodGroupApi;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::checker::InvariantChecker;
use crate::kubernetes::{Kubernetes, Pace, add_node};
use crate::refusal::Refusal;
use crate::request::{Request, Verb};
use crate::rng::Rng;
use crate::server::{Answer, Server};
use crate::store::{Key, Object, Store, Who};
use crate::types::{self, EVENTS, LEASES, NAMESPACES, Resource};
use crate::value;

/// Namespace of all objects.
pub const NAMESPACE: &str = "ns1";

/// Limit on the writes of operators. No scenario needs so many: above it an operator loops, and its requests get no answer.
pub const MOST_WRITES: usize = 5000;

/// A write requested by an operator.
#[derive(Debug, Clone)]
pub struct Written {
    /// Author.
    pub who: Who,
    /// Request, in one line.
    pub line: String,
    /// Code of the answer.
    pub code: u16,
    /// True for an event or a lease, which are no part of a job.
    pub aside: bool,
}

/// Parts of a cluster.
#[derive(Debug)]
pub struct Inside {
    /// API server.
    pub server: Server,
    /// Invariant checker.
    pub checker: InvariantChecker,
    kubernetes: Kubernetes,
    /// Writes requested by operators, in order.
    pub written: Vec<Written>,
    /// All changes, one per line; `None` unless asked for.
    pub trace: Option<Vec<String>>,
}

/// Shared handle on a cluster.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Mutex<Inside>>);

/// Options of a cluster.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Number of nodes.
    pub nodes: usize,
    /// APIs of PodGroups that are served.
    pub pod_groups: Vec<PodGroupApi>,
    /// Delays of the controllers.
    pub pace: Pace,
    /// Seed of random delays.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 3,
            pod_groups: Vec::new(),
            pace: Pace::STEADY,
            seed: 0,
        }
    }
}

/// A running cluster; it ends when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Handle on its parts.
    pub shared: Shared,
    controllers: JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.controllers.abort();
    }
}

impl Cluster {
    /// Starts a cluster with the CRDs of these kinds.
    #[must_use]
    pub fn start(frameworks: &[&'static dyn Framework], setup: &Setup) -> Self {
        let mut all: Vec<_> = types::builtin().into_iter().map(Arc::new).collect();
        all.extend(
            setup
                .pod_groups
                .iter()
                .map(|api| Arc::new(types::pod_groups(*api))),
        );
        all.extend(frameworks.iter().map(|framework| types::jobs(*framework)));
        let mut server = Server::new(all);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        server
            .store
            .put(Who::Kubernetes, &Key::new(NAMESPACES, "", NAMESPACE), namespace);
        for n in 1..=setup.nodes {
            add_node(&mut server.store, &format!("node-{n}"));
        }
        server.store.journal.clear();
        let changed = Arc::clone(&server.store.changed);
        let shared = Shared(Arc::new(Mutex::new(Inside {
            server,
            checker: InvariantChecker::new(frameworks),
            kubernetes: Kubernetes::new(setup.pace, Rng::new(setup.seed).fork()),
            written: Vec::new(),
            trace: None,
        })));
        let work = shared.clone();
        let controllers = tokio::spawn(async move {
            loop {
                let next = work.change(|inside| inside.kubernetes.act(&mut inside.server.store));
                let far = tokio::time::Instant::now() + std::time::Duration::from_hours(24);
                tokio::select! {
                    biased;
                    () = changed.notified() => {}
                    () = tokio::time::sleep_until(next.unwrap_or(far)) => {}
                }
            }
        });
        Self { shared, controllers }
    }
}

impl Shared {
    /// Locks the cluster. The guard must not be held across an await.
    pub fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the cluster, then runs the invariant checker.
    pub fn change<T>(&self, change: impl FnOnce(&mut Inside) -> T) -> T {
        let mut inside = self.lock();
        let result = change(&mut inside);
        inside.check();
        result
    }

    /// Changes the store, then runs the invariant checker.
    pub fn store<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        self.change(|inside| change(&mut inside.server.store))
    }

    /// Serves a request.
    ///
    /// # Errors
    /// If it is refused.
    pub fn answer(&self, who: Who, request: &Request) -> Result<Answer, Refusal> {
        self.change(|inside| {
            let operator = matches!(who, Who::Operator(_));
            if operator && inside.written.len() == MOST_WRITES {
                inside
                    .checker
                    .violations
                    .push(format!("more than {MOST_WRITES} writes"));
            }
            if operator {
                inside.checker.request(&inside.server.store, who, request);
            }
            let answer = inside.server.answer(who, request);
            if operator && request.verb.writes() {
                inside.written.push(Written {
                    who,
                    line: request.line(),
                    code: match &answer {
                        Ok(Answer::Object(code, _)) => *code,
                        Ok(Answer::Watch(_)) => 200,
                        Err(refusal) => refusal.code,
                    },
                    aside: is_aside(request),
                });
            }
            answer
        })
    }

    /// Creates an object as a user.
    ///
    /// # Panics
    /// If it is refused.
    pub fn create(&self, resource: Resource, object: &Value) -> Object {
        self.store(|store| {
            let of = store.type_of(resource).expect("a resource that is served");
            let version = value::text(object, "/apiVersion")
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            let made = store.create(Who::User, &of, &version, NAMESPACE, object.clone());
            made.unwrap_or_else(|refusal| panic!("{refusal:?}"))
        })
    }

    /// Changes an object in the name of `by`, which is not the operator. No effect if the object does not exist.
    pub fn edit(&self, key: &Key, by: Who, edit: impl FnOnce(&mut Value)) {
        self.store(|store| {
            let Some(object) = store.get(key) else { return };
            let mut object = (**object).clone();
            edit(&mut object);
            store.put(by, key, object);
        });
    }

    /// An object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Object> {
        self.lock().server.store.get(key).cloned()
    }

    /// Objects of a resource.
    #[must_use]
    pub fn list(&self, resource: Resource) -> Vec<Object> {
        let inside = self.lock();
        inside
            .server
            .store
            .list(resource, "")
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }
}

impl Inside {
    fn check(&mut self) {
        for change in std::mem::take(&mut self.server.store.journal) {
            let found = self.checker.violations.len();
            self.checker.change(&self.server.store, &change);
            if let Some(trace) = &mut self.trace {
                trace.push(change.line());
                trace.extend(
                    self.checker.violations[found..]
                        .iter()
                        .map(|wrong| format!("    WRONG: {wrong}")),
                );
            }
        }
    }
}

/// True for a request about an event or a lease.
#[must_use]
pub fn is_aside(request: &Request) -> bool {
    request.verb != Verb::Discover && (request.is_of(EVENTS) || request.is_of(LEASES))
}
