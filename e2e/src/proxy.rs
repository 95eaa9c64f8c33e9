//! Between an operator and an API server: a connection on which requests go wrong.

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
use kube::config::{KubeConfigOptions, Kubeconfig};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing bad.
    None,
    /// 429, try again in a second.
    TooMany,
    /// 500.
    Internal,
    /// The connection is cut before the API server has seen it.
    CutBefore,
    /// The API server carries it out, and the connection is cut before the answer.
    CutAfter,
    /// Half a second late.
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
    stormy: AtomicBool,
    chance: Mutex<Chance>,
}

struct Chance {
    state: u64,
    happened: BTreeMap<Fault, usize>,
}

/// A running proxy; it ends when this goes.
pub struct Proxy {
    shared: Arc<Shared>,
    kubeconfig: PathBuf,
    _threads: tokio::runtime::Runtime,
}

impl Proxy {
    /// Starts it in front of the API server of a kubeconfig; which request goes wrong is a matter of the seed and of their
    /// order.
    pub fn start(kubeconfig: &Path, seed: u64) -> Self {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        let (client, listener) = threads.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            (upstream(kubeconfig).await, listener.expect("a port"))
        });
        let shared = Arc::new(Shared {
            client,
            stormy: AtomicBool::new(true),
            chance: Mutex::new(Chance {
                state: seed,
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

    /// For who goes through it.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on, requests go wrong or do not.
    pub fn storm(&self, on: bool) {
        self.shared.stormy.store(on, Ordering::SeqCst);
    }

    /// What has happened so far.
    pub fn happened(&self) -> BTreeMap<Fault, usize> {
        let chance = self.shared.chance.lock().unwrap_or_else(PoisonError::into_inner);
        chance.happened.clone()
    }
}

/// A client with the credentials of a kubeconfig.
async fn upstream(kubeconfig: &Path) -> kube::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    kube::Client::try_from(config.expect("its cluster")).expect("a client")
}

impl Shared {
    fn fault(&self, watch: bool) -> Fault {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fault = Fault::None;
        if self.stormy.load(Ordering::SeqCst) && chance.roll(3) == 0 {
            fault = if watch {
                Fault::WatchCut
            } else {
                SOME[usize::try_from(chance.roll(5)).unwrap_or(0)]
            };
        }
        *chance.happened.entry(fault).or_default() += 1;
        fault
    }
}

impl Chance {
    /// splitmix64.
    fn roll(&mut self, sides: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let watch = query.contains("watch=");
    // A process that loses its Lease ends, and its kubelet starts another: what is killed is other tests' matter.
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
                // It has been carried out once its answer is there.
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

/// The connection breaks in the middle of an answer that has just begun.
fn cut() -> Response {
    let broken = futures::stream::once(async { Err::<String, _>(std::io::Error::other("cut")) });
    Body::from_stream(broken).into_response()
}
