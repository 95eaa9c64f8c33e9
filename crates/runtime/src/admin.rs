//! Probes and metrics over HTTP.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::Gate;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::state::State;

/// Data of the pages.
pub(crate) struct Admin {
    /// Metrics.
    pub(crate) metrics: Metrics,
    /// Registry of all metrics.
    pub(crate) registry: Registry,
    /// Objects held, and the queue.
    pub(crate) state: Arc<State>,
    /// Leadership of this process.
    pub(crate) leadership: Leadership,
    /// Tokens, by name, of watches and other things that readiness waits for; cancelled once a watch has listed.
    pub(crate) watches: Vec<(&'static str, CancellationToken)>,
}

/// Serves the pages and never returns: metrics at one address, probes at the other. An address of `0` means none.
///
/// # Errors
/// If an address cannot be listened on.
pub(crate) async fn serve(admin: Arc<Admin>, metrics: &str, probes: &str) -> std::io::Result<()> {
    let metrics_pages = || Router::new().route("/metrics", get(metrics_page));
    let probe_pages = || {
        Router::new()
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(ready_page))
    };
    let sites = if metrics == probes {
        vec![(metrics, metrics_pages().merge(probe_pages()))]
    } else {
        vec![(metrics, metrics_pages()), (probes, probe_pages())]
    };
    let mut servers = Vec::new();
    for (address, pages) in sites.into_iter().filter(|(address, _)| *address != "0") {
        let listener = listen(address).await?;
        let pages = pages.with_state(Arc::clone(&admin));
        servers.push(async move { axum::serve(listener, pages).await });
    }
    futures::future::try_join_all(servers).await?;
    std::future::pending().await
}

/// `:8080` means all addresses, as in Go.
async fn listen(address: &str) -> std::io::Result<TcpListener> {
    let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{address}: {error}"));
    let Some(port) = address
        .strip_prefix(':')
        .and_then(|port| port.parse::<u16>().ok())
    else {
        return TcpListener::bind(address).await.map_err(named);
    };
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            .await
            .map_err(named),
    }
}

async fn metrics_page(extract::State(admin): extract::State<Arc<Admin>>) -> impl IntoResponse {
    let (counts, depth) = (admin.state.counts(), admin.state.queue().depth());
    admin.metrics.refresh(counts, depth, admin.leadership.is_open());
    let mut text = String::new();
    let code = match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (
        code,
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
}

/// Ready once every watch has listed. A standby is ready in the same way as the leader.
async fn ready_page(extract::State(admin): extract::State<Arc<Admin>>) -> impl IntoResponse {
    let waiting: Vec<_> = admin
        .watches
        .iter()
        .filter(|(_, listed)| !listed.is_cancelled())
        .map(|(n, _)| *n)
        .collect();
    if waiting.is_empty() {
        let role = if admin.leadership.is_open() {
            "leading"
        } else {
            "standing by"
        };
        (StatusCode::OK, format!("ok, {role}\n"))
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not listed yet: {}\n", waiting.join(", ")),
        )
    }
}
