//! Refusals of the API server, in its words.

use serde_json::{Value, json};

use crate::types::Resource;

/// A refusal of the API server.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason; empty where nothing is served under a path.
    pub reason: &'static str,
    /// Message for people.
    pub message: String,
    /// Seconds after which to retry.
    pub retry_after: Option<u32>,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self {
            code,
            reason,
            message,
            retry_after: None,
        }
    }

    /// No such object.
    #[must_use]
    pub fn not_found(resource: Resource, name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{} {name:?} not found", resource.qualified()),
        )
    }

    /// No such resource.
    #[must_use]
    pub fn not_served() -> Self {
        Self::new(404, "", "404 page not found".to_owned())
    }

    /// No such resource in one of Kubernetes' own groups.
    #[must_use]
    pub fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message.to_owned())
    }

    /// A version that is not a number.
    #[must_use]
    pub fn not_a_version(text: &str) -> Self {
        Self::new(500, "", format!("resourceVersion: invalid value {text:?}"))
    }

    /// The name exists already.
    #[must_use]
    pub fn exists(resource: Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message)
    }

    /// A precondition does not hold.
    #[must_use]
    pub fn conflict(resource: Resource, name: &str, why: &str) -> Self {
        let of = resource.qualified();
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {of} {name:?}: {why}"),
        )
    }

    /// The object is not valid.
    #[must_use]
    pub fn invalid(kind: &str, name: &str, why: &str) -> Self {
        Self::new(422, "Invalid", format!("{kind} {name:?} is invalid: {why}"))
    }

    /// The request cannot be parsed.
    #[must_use]
    pub fn bad_request(why: &str) -> Self {
        Self::new(400, "BadRequest", why.to_owned())
    }

    /// Such a request is not served.
    #[must_use]
    pub fn not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message.to_owned())
    }

    /// The patch is of a type that is not served.
    #[must_use]
    pub fn unsupported() -> Self {
        let message = "the body of the request was in an unknown format";
        Self::new(415, "UnsupportedMediaType", message.to_owned())
    }

    /// The version is too old.
    #[must_use]
    pub fn expired() -> Self {
        Self::new(410, "Expired", "too old resource version".to_owned())
    }

    /// An object to be created has a version. (The answer has no reason of the API.)
    #[must_use]
    pub fn has_version() -> Self {
        let message = "resourceVersion should not be set on objects to be created";
        Self::new(500, "", message.to_owned())
    }

    /// Internal error of the API server.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            500,
            "InternalError",
            "Internal error occurred: injected".to_owned(),
        )
    }

    /// Too many requests.
    #[must_use]
    pub fn too_many(seconds: u32) -> Self {
        let message = "the server has received too many requests and has asked us to try again later";
        Self {
            retry_after: Some(seconds),
            ..Self::new(429, "TooManyRequests", message.to_owned())
        }
    }

    /// The refusal as a Status.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": self.reason, "code": self.code,
        });
        if let Some(seconds) = self.retry_after {
            status["details"] = json!({"retryAfterSeconds": seconds});
        }
        status
    }
}
