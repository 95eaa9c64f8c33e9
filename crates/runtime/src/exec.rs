//! The exec helper of `v1` MPIJobs: runs a command in a container of another pod, as `kubectl exec` does, with no more
//! rights than that takes.
//!
//! Invariant: a command is never begun twice. Tried again is only what the API server or the kubelet refused before it
//! began.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, AttachedProcess};
use kube::client::UpgradeConnectionError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::backoff;
use crate::client::{self, ConnectError};

/// First and longest delay between tries.
const DELAYS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Bytes of output in memory: on a fast network small buffers are what binds.
const BUFFER: usize = 256 * 1024;
/// What the API server says of a command that the kubelet did not begin.
const NOT_BEGUN: [&str; 2] = ["unable to upgrade connection", "error dialing backend"];

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Exec {
    /// Namespace; that of the configuration if absent.
    pub namespace: Option<String>,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container; the pod's first if absent.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether the command reads our standard input.
    pub stdin: bool,
    /// How long to wait for a pod that is not there yet, or does not run yet.
    pub wait: Duration,
}

/// Why a command was not run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No client.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The service account may not do this.
    #[error("not allowed (HTTP {0}): this needs the verbs get and create on pods/exec of that pod")]
    Forbidden(u16),
    /// The pod did not come.
    #[error("gave up after {waited} s: {last}")]
    NotReady {
        /// Seconds.
        waited: u64,
        /// The last answer.
        last: String,
    },
    /// The connection broke while the command ran.
    #[error("connection: {0}")]
    Broken(String),
    /// The command could not be run.
    #[error("{0}")]
    Refused(String),
}

/// What became of one try.
enum Try {
    /// The command has ended with this code.
    Ended(i32),
    /// It was not begun; later it may be.
    NotYet(String),
}

/// Runs the command; answers with its exit code. `tell` is called once if that has to wait.
///
/// # Errors
/// If there is no exit code.
pub async fn run(exec: &Exec, tell: impl Fn(&str)) -> Result<i32, ExecError> {
    let config = client::configure().await?;
    let namespace = exec
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let pods: Api<Pod> = Api::namespaced(client::connect(&config)?, &namespace);
    let (begun, mut tries) = (Instant::now(), 0_u32);
    loop {
        let last = match attempt(&pods, exec).await? {
            Try::Ended(code) => return Ok(code),
            Try::NotYet(why) => why,
        };
        let waited = begun.elapsed();
        if waited >= exec.wait {
            return Err(ExecError::NotReady {
                waited: waited.as_secs(),
                last,
            });
        }
        if tries == 0 {
            tell(&format!("waiting for pod {}: {last}", exec.pod));
        }
        tries = tries.saturating_add(1);
        tokio::time::sleep(backoff::delay(DELAYS.0, DELAYS.1, tries)).await;
    }
}

async fn attempt(pods: &Api<Pod>, exec: &Exec) -> Result<Try, ExecError> {
    let params = AttachParams {
        container: exec.container.clone(),
        stdin: exec.stdin,
        max_stdout_buf_size: Some(BUFFER),
        max_stderr_buf_size: Some(BUFFER),
        ..AttachParams::default()
    };
    match pods.exec(&exec.pod, exec.command.iter(), &params).await {
        Ok(process) => stream(process).await,
        Err(kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code))) => {
            match code.as_u16() {
                code @ (401 | 403) => Err(ExecError::Forbidden(code)),
                code => Ok(Try::NotYet(format!("HTTP {code}"))),
            }
        }
        Err(kube::Error::Api(status)) if [401, 403].contains(&status.code) => {
            Err(ExecError::Forbidden(status.code))
        }
        // Before the connection is there, nothing has begun.
        Err(error @ (kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::Api(_))) => {
            Ok(Try::NotYet(error.to_string()))
        }
        Err(error) => Err(ExecError::Broken(error.to_string())),
    }
}

async fn stream(mut process: AttachedProcess) -> Result<Try, ExecError> {
    let (stdout, stderr, stdin) = (process.stdout(), process.stderr(), process.stdin());
    let status = process.take_status();
    if let Some(mut stdin) = stdin {
        // It ends with the process, or with this program.
        tokio::spawn(async move { pass_on(tokio::io::stdin(), &mut stdin).await });
    }
    let out = async {
        match stdout {
            Some(stdout) => pass_on(stdout, &mut tokio::io::stdout()).await,
            None => Ok(()),
        }
    };
    let err = async {
        match stderr {
            Some(stderr) => pass_on(stderr, &mut tokio::io::stderr()).await,
            None => Ok(()),
        }
    };
    let (out, err) = tokio::join!(out, err);
    out.and(err)
        .map_err(|error| ExecError::Broken(error.to_string()))?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    verdict(status.ok_or_else(|| ExecError::Broken("it ended without an exit code".to_owned()))?)
}

/// The API server's last words about a command.
fn verdict(status: Status) -> Result<Try, ExecError> {
    if status.status.as_deref() == Some("Success") {
        return Ok(Try::Ended(0));
    }
    let causes = status
        .details
        .and_then(|details| details.causes)
        .unwrap_or_default();
    let code = causes
        .iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    if let Some(code) = code.and_then(|cause| cause.message.as_deref()?.parse().ok()) {
        return Ok(Try::Ended(code));
    }
    let message = status
        .message
        .unwrap_or_else(|| "refused without a reason".to_owned());
    if NOT_BEGUN.iter().any(|words| message.contains(words)) {
        Ok(Try::NotYet(message))
    } else {
        Err(ExecError::Refused(message))
    }
}

/// Copies, and holds nothing back: `mpirun` waits for single lines.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
            return to.flush().await;
        };
        to.write_all(part).await?;
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judge(status: Value) -> Result<Try, ExecError> {
        verdict(serde_json::from_value(status).unwrap())
    }

    #[test]
    fn only_what_was_not_begun_is_tried_again() {
        let failure = |message: &str| json!({"status": "Failure", "message": message});
        assert!(matches!(judge(json!({"status": "Success"})), Ok(Try::Ended(0))));
        let exit = json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated",
            "details": {"causes": [{"reason": "ExitCode", "message": "137"}]}});
        assert!(matches!(judge(exit), Ok(Try::Ended(137))));
        let early =
            failure("Internal error occurred: unable to upgrade connection: container not found (\"mpi\")");
        assert!(matches!(judge(early), Ok(Try::NotYet(_))));
        assert!(matches!(
            judge(failure("error executing command in container")),
            Err(ExecError::Refused(_))
        ));
    }
}
