//! Failure of a pod, as text for people and as data for decisions.

use jiff::Timestamp;

use crate::observe::{ContainerState, ContainerView, PodDetail, PodView};

/// Failure of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Reason of the disruption that removed the pod (preemption, eviction, drain, node shutdown), if there was one.
    pub disruption: Option<String>,
    /// Exit code of the training container, or of the init container that failed.
    pub exit_code: Option<i32>,
    /// Time at which its container ended.
    pub finished_at: Option<Timestamp>,
    /// Reason for which a batch Job has failed; no retry is possible then.
    pub given_up: Option<String>,
    /// Reason in one word: the container's, else the pod's, else the disruption's.
    pub reason: Option<String>,
    /// Container that failed.
    pub container: Option<String>,
    /// End of its termination message, at most 1 KiB.
    pub message: Option<String>,
    /// Sentence for people: pod, container, exit code or reason, node, last line of the termination message.
    pub text: String,
}

pub(super) fn ended_by_kubelet(pod: &PodView) -> bool {
    pod.detail
        .as_deref()
        .is_some_and(|detail| detail.reason.is_some())
}

pub(super) fn main_exit(detail: &PodDetail, container: &str) -> Option<i32> {
    detail
        .containers
        .iter()
        .find(|c| !c.init && *c.name == *container)
        .and_then(exit_code)
}

pub(super) fn exit_code(container: &ContainerView) -> Option<i32> {
    match &container.state {
        ContainerState::Terminated { exit_code, .. } => Some(*exit_code),
        ContainerState::Waiting { .. } => None,
    }
}

pub(super) fn disruption(pod: &PodView) -> Option<String> {
    pod.detail
        .as_deref()?
        .disruption
        .as_ref()
        .map(ToString::to_string)
}

/// Container that explains the pod's failure: the training container, else an init container, else any that failed.
pub(super) fn culprit<'a>(detail: &'a PodDetail, container: &str) -> Option<&'a ContainerView> {
    let failed = |c: &&ContainerView| exit_code(c).is_some_and(|code| code != 0);
    let mut all = detail.containers.iter().filter(failed);
    let main = detail
        .containers
        .iter()
        .filter(failed)
        .find(|c| !c.init && *c.name == *container);
    main.or_else(|| all.next())
}

pub(super) fn failure(pod: &PodView, container: &str) -> Failure {
    let none = PodDetail::default();
    let detail = pod.detail.as_deref().unwrap_or(&none);
    let mut words = vec![format!("pod {}", pod.name)];
    let (mut code, mut at) = (None, None);
    let (mut word, mut told) = (None, None);
    let mut last = detail.message.as_deref().and_then(last_line);
    let culprit = culprit(detail, container);
    if let Some(ContainerView { name, init, state }) = culprit
        && let ContainerState::Terminated {
            exit_code,
            reason,
            message,
            finished_at,
        } = state
    {
        (code, at) = (Some(*exit_code), *finished_at);
        (word, told) = (reason.as_ref(), message.as_deref());
        let init = if *init { "init container" } else { "container" };
        words.push(format!("{init} {name} exited with code {exit_code}"));
        words.extend(reason.as_ref().map(|reason| format!("({reason})")));
        last = message.as_deref().and_then(last_line).or(last);
    }
    match (&detail.reason, culprit) {
        (Some(reason), Some(_)) => words.push(format!("and was {reason}")),
        (Some(reason), None) => words.push(format!("was {reason}")),
        (None, None) => words.push("failed without a container status".to_owned()),
        (None, Some(_)) => {}
    }
    words.extend(
        detail
            .disruption
            .as_ref()
            .map(|reason| format!("(disruption: {reason})")),
    );
    words.extend(pod.node.as_ref().map(|node| format!("on node {node}")));
    let mut text = words.join(" ");
    if let Some(last) = last {
        text.push_str(": ");
        text.push_str(&last);
    }
    let word = word.or(detail.reason.as_ref()).or(detail.disruption.as_ref());
    Failure {
        disruption: disruption(pod),
        exit_code: code,
        finished_at: at,
        given_up: None,
        reason: word.map(ToString::to_string),
        container: culprit.map(|container| container.name.to_string()),
        message: told.or(detail.message.as_deref()).and_then(end_of),
        text,
    }
}

/// Maximum length of the stored end of a termination message, in bytes.
const LONGEST_MESSAGE: usize = 1024;

/// End of a message.
fn end_of(message: &str) -> Option<String> {
    let message = message.trim();
    let mut from = message.len().saturating_sub(LONGEST_MESSAGE);
    while !message.is_char_boundary(from) {
        from = from.saturating_add(1);
    }
    message
        .get(from..)
        .filter(|end| !end.is_empty())
        .map(str::to_owned)
}

/// Last non-empty line, cut to 256 characters to keep the status small.
pub(super) fn last_line(message: &str) -> Option<String> {
    let line = message
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())?;
    Some(line.chars().take(256).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_message_is_kept_whole_characters_only() {
        let long = format!("{}ä{}", "x".repeat(10), "y".repeat(1023));
        assert_eq!(end_of(&long), Some("y".repeat(1023)));
        assert_eq!(end_of(" short\n").as_deref(), Some("short"));
        assert_eq!(end_of(" \n"), None);
    }

    #[test]
    fn last_line_skips_blank_ends() {
        assert_eq!(last_line("a\nboom \n\n").as_deref(), Some("boom"));
        assert_eq!(last_line(" \n"), None);
    }
}
