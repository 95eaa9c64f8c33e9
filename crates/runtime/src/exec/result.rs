//! Result of a command, or of one try to start it.

use std::io;

use crate::client::ConnectError;

/// Texts by which the API server (400, 500) and the kubelet (500) say that something does not exist yet. None of them is used for a
/// command that has started.
const EARLY: [&str; 6] = [
    "does not have a host assigned",
    "container not found (",
    "pod does not exist",
    "container is in CONTAINER_",
    "error dialing backend",
    "etcdserver: ",
];
/// Text by which API servers before 1.36 report a refusal of the kubelet, in place of an exit code: they contact the kubelet only
/// after our connection is open.
pub(super) const KUBELET_REFUSED: &str = "unable to upgrade connection: ";
/// Error of a command that was not run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No client.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The service account lacks the right.
    #[error("not allowed: {0} (it takes the verbs get and create on pods/exec of that pod)")]
    Forbidden(String),
    /// The pod did not become ready in time.
    #[error("gave up after {waited} s: {last}")]
    NotReady {
        /// Seconds waited.
        waited: u64,
        /// The last response.
        last: String,
    },
    /// The connection broke; the fate of the command is unknown.
    #[error("connection: {0}")]
    Broken(String),
    /// The command could not be run.
    #[error("{0}")]
    Refused(String),
    /// The output of the command could not be written to ours.
    #[error("writing the command's output: {0}")]
    Output(#[from] io::Error),
}

/// Result of one try.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Try {
    /// The command has ended with this code.
    Ended(i32),
    /// The command was not started, and may be later.
    NotYet(String),
    /// The command was not started: the pod has several containers, and none was named.
    Several(String),
}

/// Returns `true` for a message about something that does not exist yet.
pub(super) fn is_early(message: &str) -> bool {
    EARLY.iter().any(|words| message.contains(words))
}
