//! Reason and message of conditions and events.

/// Reason and message of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// One word in camel case, such as `Unschedulable`.
    pub(crate) reason: String,
    /// Sentence for users.
    pub(crate) message: String,
}
