//! The exec helper of `v1` MPIJobs: runs a command in a container of another pod, as `kubectl exec` does, with no more
//! rights than that needs.
//!
//! Invariant: a command is never started twice. A request is retried only if the API server or the kubelet refused it before the
//! command started. After a request without a response it is unknown whether the command started.
//!
//! The frames are handled in [`session`], not by kube's `AttachedProcess`: there a broken connection looks like output that never
//! ends, and no output is read while input is sent, so that it and `cat` wait for each other.

mod result;
mod session;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, Request};
use kube::{Client, Resource};
use tokio::time::Instant;

use crate::backoff;
use crate::client;

pub use self::result::ExecError;
use self::result::{Try, is_early};

/// First and longest delay between tries.
const DELAYS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Time for which "forbidden" may mean "not yet": the operator grants the rights to a worker after it has created it.
const GRANTED: Duration = Duration::from_secs(30);
/// Longest time until the response to a request. The API server gives the kubelet half a minute.
const RESPONSE: Duration = Duration::from_mins(2);
/// Text by which the API server says that a pod has several containers. The names that follow do not help: those of init
/// containers come first.
const SEVERAL: &str = "a container name must be specified";
/// Annotation of a pod with the container that kubectl uses by default.
const MAIN: &str = "kubectl.kubernetes.io/default-container";

/// A command, and the container to run it in.
#[derive(Debug, Clone)]
pub struct Exec {
    /// Namespace; that of the client configuration if absent.
    pub namespace: Option<String>,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container; the pod's first container if absent.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// `true` if the command reads our standard input.
    pub stdin: bool,
    /// Time to wait for a pod that does not exist or run yet.
    pub wait: Duration,
}

/// Runs the command with this process' standard input, output and error. Returns its exit code. `report` is called once if the
/// command has to wait. Dropping the future leaves the command running, as with kubectl.
///
/// # Errors
/// If there is no exit code.
pub async fn run(exec: &Exec, report: impl Fn(&str)) -> Result<i32, ExecError> {
    let mut config = client::configure().await?;
    // These timeouts would also apply to the command's streams, which may be silent for days.
    (config.read_timeout, config.write_timeout) = (None, None);
    let namespace = exec.namespace.as_ref().unwrap_or(&config.default_namespace);
    for name in [namespace, &exec.pod] {
        check(name)?;
    }
    let pods = Request::new(Pod::url_path(&(), Some(namespace)));
    let client = client::connect(&config)?;
    let mut params = AttachParams {
        container: exec.container.clone(),
        stdin: exec.stdin,
        ..AttachParams::default()
    };
    let (begun, mut tries) = (Instant::now(), 0_u32);
    loop {
        let answer = match attempt(&client, &pods, exec, &params).await {
            Err(ExecError::Forbidden(why)) if begun.elapsed() < GRANTED.min(exec.wait) => Try::NotYet(why),
            answer => answer?,
        };
        let last = match answer {
            Try::Ended(code) => return Ok(code),
            Try::Several(why) => {
                let found = main_container(&client, namespace, &exec.pod).await;
                let unknown = |error| ExecError::Refused(format!("{why}; {}", chain(&error)));
                params.container = Some(found.map_err(unknown)?);
                continue;
            }
            Try::NotYet(why) => why,
        };
        let waited = begun.elapsed();
        let Some(left) = exec.wait.checked_sub(waited).filter(|left| !left.is_zero()) else {
            let waited = waited.as_secs();
            return Err(ExecError::NotReady { waited, last });
        };
        if tries == 0 {
            let most = exec.wait.as_secs();
            report(&format!("waiting for pod {}, at most {most} s: {last}", exec.pod));
        }
        tries = tries.saturating_add(1);
        tokio::time::sleep(backoff::delay(DELAYS.0, DELAYS.1, tries).min(left)).await;
    }
}

/// Checks a name that becomes a part of a path.
fn check(name: &str) -> Result<(), ExecError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if name.bytes().all(plain) && name.bytes().any(|b| b.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err(ExecError::Refused(format!(
            "{name:?} is not a name of a pod or namespace"
        )))
    }
}

async fn attempt(
    client: &Client,
    pods: &Request,
    exec: &Exec,
    params: &AttachParams,
) -> Result<Try, ExecError> {
    let request = pods
        .exec(&exec.pod, exec.command.iter(), params)
        .map_err(|error| ExecError::Refused(error.to_string()))?;
    match tokio::time::timeout(RESPONSE, client.connect(request)).await {
        Ok(Ok(connection)) => session::hold(connection, exec.stdin).await,
        Ok(Err(error)) => not_connected(&error),
        Err(_) => Err(ExecError::Broken(format!(
            "no answer within {} s",
            RESPONSE.as_secs()
        ))),
    }
}

fn not_connected(error: &kube::Error) -> Result<Try, ExecError> {
    match error {
        kube::Error::Api(status) => answered(status.code, &status.message),
        error if is_unsent(error) => Ok(Try::NotYet(chain(error))),
        error => Err(ExecError::Broken(chain(error))),
    }
}

/// Result of a request whose response was not a connection, so that nothing has started.
fn answered(code: u16, message: &str) -> Result<Try, ExecError> {
    let text = format!("{message} (HTTP {code})");
    match code {
        401 | 403 => Err(ExecError::Forbidden(text)),
        404 | 429 | 502 | 503 => Ok(Try::NotYet(text)),
        400 | 500 if is_early(message) => Ok(Try::NotYet(text)),
        400 if message.contains(SEVERAL) => Ok(Try::Several(text)),
        _ => Err(ExecError::Refused(text)),
    }
}

/// The container that kubectl would choose. Only this needs the right to read the pod, and only for a pod with several containers
/// of which none was named.
async fn main_container(client: &Client, namespace: &str, pod: &str) -> Result<String, kube::Error> {
    let pod = Api::<Pod>::namespaced(client.clone(), namespace).get(pod).await?;
    let named = pod.metadata.annotations.and_then(|mut a| a.remove(MAIN));
    let mut containers = pod.spec.into_iter().flat_map(|spec| spec.containers);
    let first = containers.next().map(|c| c.name).unwrap_or_default();
    Ok(named
        .filter(|name| *name == first || containers.any(|c| c.name == *name))
        .unwrap_or(first))
}

/// Returns `true` if no byte of the request was sent.
fn is_unsent(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
    })
}

/// The error with all its causes, each text once: some errors include their causes.
fn chain(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = String::new();
    for cause in causes(error).map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pod_that_does_not_exist_or_run_yet_is_waited_for() {
        let early = [
            (404, "pods \"w\" not found"),
            (400, "pod w does not have a host assigned"),
            (500, "container not found (\"mpi\")"),
            (
                500,
                "error dialing backend: dial tcp 10.0.0.1:10250: connect: connection refused",
            ),
            (503, "apiserver is shutting down"),
            (429, "too many requests"),
        ];
        for (code, message) in early {
            assert!(matches!(answered(code, message), Ok(Try::NotYet(_))), "{message}");
        }
        let never = [
            (400, "container x is not valid for pod w"),
            (
                400,
                "cannot exec into a container in a completed pod; current phase is Succeeded",
            ),
            (500, "the kubelet's answer was lost"),
            (504, "timed out"),
        ];
        for (code, message) in never {
            assert!(
                matches!(answered(code, message), Err(ExecError::Refused(_))),
                "{message}"
            );
        }
        assert!(matches!(answered(403, "no"), Err(ExecError::Forbidden(_))));
        let several = "a container name must be specified for pod w, choose one of: [init a b]";
        assert!(matches!(answered(400, several), Ok(Try::Several(_))));
    }

    #[test]
    fn names_cannot_lead_out_of_their_place_in_the_path() {
        assert!(check("hvd-worker-0").is_ok() && check("a.b").is_ok());
        for bad in ["", "..", "a/b", "a?b", "-A", "a b"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
