//! Client of the API server: the one place that sends, bounds, counts and classifies requests.
//!
//! There is no client-side rate limit, since fairness is the API server's job, but a bound on the writes in flight. There are no
//! retries here, since the queue retries whole reconciles.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, header};
use kube::client::Body;
use kube::config::{InClusterError, KubeconfigError};
use kube::{Client, Config};
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::resource::{ObjectName, Resource};
use crate::response::{RequestError, Response};

/// Number of writes in flight over all jobs. More would only add latency at the API server.
const WRITES: usize = 32;
/// Time after which a write does not count among them any more: its cause (a webhook that does not respond, say) must not hold
/// up writes for other jobs.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest time for one request, except a watch.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Media type of metadata alone, also for responses to writes and look-ups.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// The same for lists.
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// Error of making a client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a kubeconfig nor a service account.
    #[error("no configuration: {kubeconfig}; and not in a cluster: {in_cluster}")]
    NoConfig {
        /// Error of the kubeconfig.
        kubeconfig: Box<KubeconfigError>,
        /// Error of the configuration in a pod.
        in_cluster: Box<InClusterError>,
    },
    /// The configuration cannot be used.
    #[error("the configuration cannot be used: {0}")]
    Unusable(#[from] Box<kube::Error>),
    /// Another TLS provider was installed before.
    #[error("a TLS provider was installed already")]
    TlsProvider,
}

/// Permission to write, held by the leader.
pub(crate) trait Gate: Send + Sync {
    /// Returns `true` if this process may write now. Asked at each write.
    fn is_open(&self) -> bool;
}

/// The API server.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    metrics: Metrics,
    writes: Arc<Semaphore>,
    gate: Arc<dyn Gate>,
}

/// Installs the TLS provider and reads the configuration: `KUBECONFIG` or `~/.kube/config`, else the service account.
///
/// # Errors
/// If there is no usable configuration.
pub(crate) async fn configure() -> Result<Config, ConnectError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        rustls::crypto::ring::default_provider()
            .install_default()
            .map_err(|_| ConnectError::TlsProvider)?;
    }
    let mut config = match Config::from_kubeconfig(&kube::config::KubeConfigOptions::default()).await {
        Ok(config) => config,
        Err(kubeconfig) => Config::incluster_env().map_err(|in_cluster| ConnectError::NoConfig {
            kubeconfig: Box::new(kubeconfig),
            in_cluster: Box::new(in_cluster),
        })?,
    };
    config.default_retry = false;
    Ok(config)
}

/// Makes a client with separate connections.
///
/// # Errors
/// If the configuration cannot be used.
pub(crate) fn connect(config: &Config) -> Result<Client, ConnectError> {
    Client::try_from(config.clone()).map_err(|error| ConnectError::Unusable(Box::new(error)))
}

impl Api {
    /// Sends all requests over these connections; writes only while the gate is open.
    pub(crate) fn new(client: Client, metrics: Metrics, gate: Arc<dyn Gate>) -> Self {
        Self {
            client,
            metrics,
            writes: Arc::new(Semaphore::new(WRITES)),
            gate,
        }
    }

    /// Returns `true` while writes wait for others in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.writes.available_permits() == 0
    }

    /// Creates an object; returns its metadata.
    pub(crate) async fn create(
        &self,
        resource: Resource,
        namespace: &str,
        object: &(impl serde::Serialize + Sync),
    ) -> Result<Vec<u8>, RequestError> {
        let body = serde_json::to_vec(object)?;
        let path = resource.collection(Some(namespace));
        self.write(Call::new("create", Method::POST, resource, path).body(body, "application/json"))
            .await
    }

    /// Deletes an object; returns its metadata, or a Status.
    pub(crate) async fn delete(
        &self,
        resource: Resource,
        name: &ObjectName,
        options: &serde_json::Value,
    ) -> Result<Vec<u8>, RequestError> {
        let body = serde_json::to_vec(options)?;
        let path = resource.object(name);
        self.write(Call::new("delete", Method::DELETE, resource, path).body(body, "application/json"))
            .await
    }

    /// Merges a patch into the status of an object; returns its metadata.
    pub(crate) async fn patch_status(
        &self,
        resource: Resource,
        name: &ObjectName,
        patch: &serde_json::Value,
    ) -> Result<Vec<u8>, RequestError> {
        let body = serde_json::to_vec(patch)?;
        let uri = format!("{}/status", resource.object(name));
        let call = Call::new("patch", Method::PATCH, resource, uri);
        self.write(call.body(body, "application/merge-patch+json")).await
    }

    /// Merges a patch into an object; returns its metadata.
    pub(crate) async fn patch(
        &self,
        resource: Resource,
        name: &ObjectName,
        patch: &serde_json::Value,
    ) -> Result<Vec<u8>, RequestError> {
        let body = serde_json::to_vec(patch)?;
        let call = Call::new("patch", Method::PATCH, resource, resource.object(name));
        self.write(call.body(body, "application/merge-patch+json")).await
    }

    /// Replaces an object; returns its metadata.
    pub(crate) async fn replace(
        &self,
        resource: Resource,
        name: &ObjectName,
        object: &(impl serde::Serialize + Sync),
    ) -> Result<Vec<u8>, RequestError> {
        let body = serde_json::to_vec(object)?;
        let call = Call::new("update", Method::PUT, resource, resource.object(name));
        self.write(call.body(body, "application/json")).await
    }

    /// Reads the list of resources in the group and version of this one.
    pub(crate) async fn discover(&self, resource: Resource) -> Result<Vec<u8>, RequestError> {
        let call = Call {
            accept: "application/json",
            ..Call::new("get", Method::GET, resource, resource.discovery())
        };
        self.bounded(call).await
    }

    /// Reads an object.
    pub(crate) async fn get(&self, resource: Resource, name: &ObjectName) -> Result<Vec<u8>, RequestError> {
        let call = Call {
            accept: "application/json",
            ..Call::new("get", Method::GET, resource, resource.object(name))
        };
        self.bounded(call).await
    }

    /// Reads the metadata of an object.
    pub(crate) async fn get_metadata(
        &self,
        resource: Resource,
        name: &ObjectName,
    ) -> Result<Vec<u8>, RequestError> {
        self.bounded(Call::new("get", Method::GET, resource, resource.object(name)))
            .await
    }

    /// Reads one page of a list; `path` includes the query.
    pub(crate) async fn list(
        &self,
        resource: Resource,
        path: String,
        metadata: bool,
    ) -> Result<Vec<u8>, RequestError> {
        let accept = if metadata {
            METADATA_LIST
        } else {
            "application/json"
        };
        self.bounded(Call {
            accept,
            ..Call::new("list", Method::GET, resource, path)
        })
        .await
    }

    /// Starts a watch.
    pub(crate) async fn watch(
        &self,
        resource: Resource,
        path: String,
        metadata: bool,
    ) -> Result<Body, RequestError> {
        let accept = if metadata { METADATA } else { "application/json" };
        let call = Call {
            accept,
            ..Call::new("watch", Method::GET, resource, path)
        };
        tokio::time::timeout(TIMEOUT, self.send(call))
            .await
            .unwrap_or_else(|_| Err(timed_out()))
    }

    async fn write(&self, call: Call) -> Result<Vec<u8>, RequestError> {
        let place = self
            .writes
            .acquire()
            .await
            .map_err(|closed| RequestError::Closed(closed.to_string()))?;
        if !self.gate.is_open() {
            return Err(RequestError::NotLeader);
        }
        let mut response = pin!(self.bounded(call));
        if let Ok(response) = tokio::time::timeout(PATIENCE, &mut response).await {
            return response;
        }
        drop(place);
        response.await
    }

    async fn bounded(&self, call: Call) -> Result<Vec<u8>, RequestError> {
        let response = async {
            let body = self.send(call).await?;
            body.collect_bytes().await.map(Vec::from).map_err(no_response)
        };
        tokio::time::timeout(TIMEOUT, response)
            .await
            .unwrap_or_else(|_| Err(timed_out()))
    }

    async fn send(&self, call: Call) -> Result<Body, RequestError> {
        let Call {
            verb,
            resource,
            method,
            path,
            accept,
            body,
            content_type,
        } = call;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, accept);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let response = self.client.send(request.body(Body::from(body))?).await;
        let code = response.as_ref().map_or(0, |a| a.status().as_u16());
        self.metrics.request(verb, resource.plural, code);
        let (head, body) = response.map_err(no_response)?.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let retry_after = head
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|v| v.to_str().ok()?.parse().ok());
        let body = body.collect_bytes().await.map_err(no_response)?;
        Err(RequestError::Response(Box::new(Response::of(
            code,
            &body,
            retry_after,
        ))))
    }
}

struct Call {
    verb: &'static str,
    resource: Resource,
    method: Method,
    path: String,
    accept: &'static str,
    body: Vec<u8>,
    content_type: Option<&'static str>,
}

impl Call {
    fn new(verb: &'static str, method: Method, resource: Resource, path: String) -> Self {
        Self {
            verb,
            resource,
            method,
            path,
            accept: METADATA,
            body: Vec::new(),
            content_type: None,
        }
    }

    fn body(self, body: Vec<u8>, content_type: &'static str) -> Self {
        Self {
            body,
            content_type: Some(content_type),
            ..self
        }
    }
}

fn no_response(error: impl std::error::Error) -> RequestError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    RequestError::NoResponse(text)
}

fn timed_out() -> RequestError {
    RequestError::NoResponse(format!("timed out after {} s", TIMEOUT.as_secs()))
}
