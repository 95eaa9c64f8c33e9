//! Proxy between an operator and an API server that injects network faults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HOST};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

use crate::api;

/// A fault that is injected into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No fault.
    None,
    /// 429, try again in a second.
    TooMany,
    /// 500.
    Internal,
    /// The connection is cut before the request reaches the API server.
    CutBefore,
    /// The API server processes the request, and the connection is cut before the response.
    CutAfter,
    /// The request is forwarded half a second late.
    Late,
    /// A watch that ends in the middle.
    WatchCut,
}

const SOME: [Fault; 5] = [
    Fault::TooMany,
    Fault::Internal,
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::Late,
];

struct Shared {
    client: kube::Client,
    faulty: AtomicBool,
    chance: Mutex<Chance>,
}

struct Chance {
    random: fastrand::Rng,
    happened: BTreeMap<Fault, usize>,
}

/// A running proxy; it stops when this value is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    kubeconfig: PathBuf,
    _threads: tokio::runtime::Runtime,
}

impl Proxy {
    /// Starts it in front of the API server of a kubeconfig. The seed and the order of requests decide which of them fail.
    pub fn start(kubeconfig: &Path, seed: u64) -> Self {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        let (client, listener) = threads.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            (api::client(kubeconfig).await, listener.expect("a port"))
        });
        let shared = Arc::new(Shared {
            client,
            faulty: AtomicBool::new(true),
            chance: Mutex::new(Chance {
                random: fastrand::Rng::with_seed(seed),
                happened: BTreeMap::new(),
            }),
        });
        let address = listener.local_addr().expect("its address");
        let app = axum::Router::new()
            .fallback(pass_on)
            .with_state(Arc::clone(&shared));
        threads.spawn(async move { axum::serve(listener, app).await });
        let kubeconfig = kubeconfig.with_extension("faulty");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: \"http://{address}\"}}}}],
            contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).expect("a file");
        Self {
            shared,
            kubeconfig,
            _threads: threads,
        }
    }

    /// Kubeconfig of clients that connect through the proxy.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Switches faults on or off.
    pub fn set_faulty(&self, on: bool) {
        self.shared.faulty.store(on, Ordering::SeqCst);
    }

    /// Number of requests so far, by fault.
    pub fn happened(&self) -> BTreeMap<Fault, usize> {
        let chance = self.shared.chance.lock().unwrap_or_else(PoisonError::into_inner);
        chance.happened.clone()
    }
}

impl Shared {
    fn fault(&self, watch: bool) -> Fault {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fault = Fault::None;
        if self.faulty.load(Ordering::SeqCst) && chance.random.u8(..3) == 0 {
            fault = if watch {
                Fault::WatchCut
            } else {
                SOME[chance.random.usize(..SOME.len())]
            };
        }
        *chance.happened.entry(fault).or_default() += 1;
        fault
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let watch = query.contains("watch=");
    // Without its Lease the operator would exit and be restarted; other tests cover that.
    let fault = if request.uri().path().contains("/leases") {
        Fault::None
    } else {
        shared.fault(watch)
    };
    match fault {
        Fault::TooMany => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "too many").into_response(),
        Fault::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "no").into_response(),
        Fault::CutBefore => cut(),
        Fault::CutAfter => {
            if let Some(answer) = shared.send(request).await {
                // The request has been processed once the response is complete.
                let _ = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
            }
            cut()
        }
        Fault::Late => {
            tokio::time::sleep(Duration::from_millis(500)).await;
            shared.answer(request, None).await
        }
        Fault::WatchCut => shared.answer(request, Some(Duration::from_secs(3))).await,
        Fault::None => shared.answer(request, None).await,
    }
}

impl Shared {
    async fn send(&self, request: Request) -> Option<Response> {
        let (mut head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.ok()?;
        head.headers.remove(HOST);
        head.headers.remove(CONNECTION);
        let request = axum::http::Request::from_parts(head, kube::client::Body::from(body.to_vec()));
        Some(self.client.send(request).await.ok()?.map(Body::new))
    }

    async fn answer(&self, request: Request, lasts: Option<Duration>) -> Response {
        let Some(answer) = self.send(request).await else {
            return cut();
        };
        let Some(lasts) = lasts else { return answer };
        answer.map(|body| {
            let end = tokio::time::sleep(lasts);
            let cut = futures::stream::once(async { Err(axum::Error::new(std::io::Error::other("cut"))) });
            Body::from_stream(body.into_data_stream().take_until(end).chain(cut))
        })
    }
}

/// A response whose connection breaks right after its headers.
fn cut() -> Response {
    let broken = futures::stream::once(async { Err::<String, _>(std::io::Error::other("cut")) });
    Body::from_stream(broken).into_response()
}
