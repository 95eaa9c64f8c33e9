//! Error responses of the API server, and the retry that each calls for.

use std::time::Duration;

use serde::Deserialize;

/// Retry that an error calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryClass {
    /// Retry.
    Transient,
    /// Observe again, then retry.
    Conflict,
    /// An administrator has to allow the request.
    Forbidden,
    /// A user has to correct the object.
    Invalid,
}

/// An error response of the API server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Response {
    /// HTTP status code.
    pub(crate) code: u16,
    /// Machine-readable reason, such as `AlreadyExists`.
    pub(crate) reason: String,
    /// Message for users.
    pub(crate) message: String,
    details: Option<Details>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    causes: Vec<Cause>,
    retry_after_seconds: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
}

impl Response {
    /// Reads an error frame of a watch.
    pub(crate) fn of_frame(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|_| Self {
            message: json.to_owned(),
            ..Self::default()
        })
    }

    /// Reads a response with this status code; `retry_after` is its header.
    pub(crate) fn of(code: u16, body: &[u8], retry_after: Option<u64>) -> Self {
        let text = || String::from_utf8_lossy(body).trim().to_owned();
        let mut response: Self = serde_json::from_slice(body).unwrap_or_default();
        response.code = code;
        if response.message.is_empty() {
            response.message = text();
        }
        if let Some(seconds) = retry_after {
            response.details.get_or_insert_default().retry_after_seconds = seconds;
        }
        response
    }

    fn has_cause(&self, reason: &str) -> bool {
        self.details
            .iter()
            .flat_map(|d| &d.causes)
            .any(|c| c.reason == reason)
    }
}

/// Error of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The API server refused the request.
    #[error("{}", .0.message)]
    Response(Box<Response>),
    /// There was no response; the request may or may not have taken effect.
    #[error("no answer from the API server: {0}")]
    NoResponse(String),
    /// The response could not be read. Users see this text in `status.waitingFor`; it has always begun with these words,
    /// although there was a response.
    #[error("no answer from the API server: {0}")]
    Unreadable(String),
    /// No key pair could be made, so nothing was sent. The text is kept for the same reason.
    #[error("no answer from the API server: no key pair: {0}")]
    KeyPair(String),
    /// The request was not sent, since this process ends. The text is kept for the same reason.
    #[error("no answer from the API server: {0}")]
    Closed(String),
    /// The request could not be made.
    #[error("request could not be made: {0}")]
    Request(#[from] http::Error),
    /// The object could not be written as JSON.
    #[error("object could not be serialized: {0}")]
    Serialize(#[from] serde_json::Error),
    /// This process is not the leader any more.
    #[error("this process does not lead any more")]
    NotLeader,
}

impl RequestError {
    /// The response could not be read.
    pub(crate) fn unreadable(error: &impl std::error::Error) -> Self {
        Self::Unreadable(error.to_string())
    }

    fn response(&self) -> Option<&Response> {
        match self {
            Self::Response(response) => Some(response),
            Self::NoResponse(_)
            | Self::Unreadable(_)
            | Self::KeyPair(_)
            | Self::Closed(_)
            | Self::Request(_)
            | Self::Serialize(_)
            | Self::NotLeader => None,
        }
    }

    fn code(&self) -> u16 {
        self.response().map_or(0, |a| a.code)
    }

    /// Returns `true` if there is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// Returns `true` if the account is known and lacks the right.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.code() == 403
    }

    /// Returns `true` if there is no such kind of object: the response has no reason then.
    pub(crate) fn is_not_served(&self) -> bool {
        self.response()
            .is_some_and(|a| a.code == 404 && a.reason.is_empty())
    }

    /// Returns `true` if the name is taken.
    pub(crate) fn is_already_exists(&self) -> bool {
        self.response()
            .is_some_and(|a| a.code == 409 && a.reason == "AlreadyExists")
    }

    /// Returns `true` if a precondition does not hold.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == 409 && !self.is_already_exists()
    }

    /// Returns `true` if a patch names the UID of an object that does not have the name any more.
    pub(crate) fn is_of_other_uid(&self) -> bool {
        self.response()
            .is_some_and(|a| a.code == 422 && a.message.contains("metadata.uid"))
    }

    /// Returns `true` if the resourceVersion is too old for a watch.
    pub(crate) fn is_gone(&self) -> bool {
        self.code() == 410
    }

    /// Returns `true` if the namespace is being deleted, so that nothing can be created in it.
    pub(crate) fn is_namespace_ending(&self) -> bool {
        self.response()
            .is_some_and(|a| a.has_cause("NamespaceTerminating"))
    }

    /// True if a resource quota refused the object. The API server has no reason of its own for this, only a message
    /// (`k8s.io/apiserver/pkg/admission/plugin/resourcequota`).
    pub(crate) fn is_quota(&self) -> bool {
        self.to_string().contains("exceeded quota")
    }

    /// Time that the API server asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.response()?.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }

    /// Retry that the error calls for.
    pub(crate) fn class(&self) -> RetryClass {
        let Some(response) = self.response() else {
            return RetryClass::Transient;
        };
        match response.code {
            409 => RetryClass::Conflict,
            401 | 403 => RetryClass::Forbidden,
            _ if response.message.starts_with("admission webhook") && response.code < 500 => {
                RetryClass::Forbidden
            }
            400 | 405 | 413 | 415 | 422 => RetryClass::Invalid,
            _ => RetryClass::Transient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, body: &str) -> RequestError {
        RequestError::Response(Box::new(Response::of(code, body.as_bytes(), None)))
    }

    #[test]
    fn each_answer_has_one_retry_class() {
        let table = [
            (409, r#"{"reason":"Conflict"}"#, RetryClass::Conflict),
            (
                403,
                r#"{"reason":"Forbidden","message":"exceeded quota"}"#,
                RetryClass::Forbidden,
            ),
            (
                400,
                r#"{"message":"admission webhook \"x\" denied the request: no"}"#,
                RetryClass::Forbidden,
            ),
            (
                500,
                r#"{"message":"failed calling webhook"}"#,
                RetryClass::Transient,
            ),
            (422, r#"{"reason":"Invalid"}"#, RetryClass::Invalid),
            (404, r#"{"reason":"NotFound"}"#, RetryClass::Transient),
            (
                429,
                "Too many requests, please try again later.",
                RetryClass::Transient,
            ),
            (504, "", RetryClass::Transient),
        ];
        for (code, body, class) in table {
            assert_eq!(error(code, body).class(), class, "{code} {body}");
        }
        assert_eq!(
            RequestError::NoResponse(String::new()).class(),
            RetryClass::Transient
        );
    }

    #[test]
    fn answers_say_what_they_are() {
        assert!(error(409, r#"{"reason":"AlreadyExists"}"#).is_already_exists());
        assert!(error(409, r#"{"reason":"Conflict"}"#).is_conflict());
        assert!(error(404, "404 page not found").is_not_served());
        assert!(!error(404, r#"{"reason":"NotFound"}"#).is_not_served());
        assert!(!error(409, r#"{"reason":"AlreadyExists"}"#).is_conflict());
        let ending = r#"{"reason":"Forbidden","details":{"causes":[{"reason":"NamespaceTerminating"}]}}"#;
        assert!(error(403, ending).is_namespace_ending());
        let quota = r#"{"reason":"Forbidden","message":"pods \"p\" is forbidden: exceeded quota: q"}"#;
        assert!(error(403, quota).is_quota());
        let account = r#"{"reason":"Forbidden","message":"serviceaccounts \"none\" not found"}"#;
        assert!(!error(403, account).is_quota());
        let waits = Response::of(429, b"Too many requests", Some(3));
        assert_eq!(
            RequestError::Response(Box::new(waits)).retry_after(),
            Some(Duration::from_secs(3))
        );
        assert_eq!(error(500, "plain words").to_string(), "plain words");
    }
}
