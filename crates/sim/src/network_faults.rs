//! Faults on the way between a client and the API server.

use std::time::Duration;

use serde_json::Value;

use crate::refusal::Refusal;
use crate::request::Request;

/// Fault of one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// No fault: the request is served and answered.
    None,
    /// The API server refuses it.
    Refused(Refusal),
    /// It is not served, and answered with this code and object.
    Answered(u16, Value),
    /// It has no answer: the connection breaks, or stays silent.
    Lost {
        /// True if the request is served all the same.
        served: bool,
        /// True if the client sees the connection break.
        broken: bool,
    },
    /// The process that has sent it dies.
    Fatal {
        /// True if the request is served all the same.
        served: bool,
    },
}

/// Way of one request.
#[derive(Debug, Clone)]
pub struct Trip {
    /// Delay of the request.
    pub there: Duration,
    /// Fault.
    pub fault: Fault,
    /// Delay of the answer.
    pub back: Duration,
}

impl Trip {
    /// Without delay or fault.
    pub const UNDISTURBED: Self = Self {
        there: Duration::ZERO,
        fault: Fault::None,
        back: Duration::ZERO,
    };
}

/// Faults on the requests and watches of one client.
pub trait NetworkFaults: Send {
    /// Way of a request.
    fn trip(&mut self, request: &Request) -> Trip;

    /// Delay of a watch of this resource at present.
    fn lag(&mut self, plural: &str) -> Duration;

    /// True while watches of this resource stand still; their events are kept until then.
    fn holds(&mut self, _plural: &str) -> bool {
        false
    }
}

/// No faults.
#[derive(Debug, Clone, Copy)]
pub struct NoFaults;

impl NetworkFaults for NoFaults {
    fn trip(&mut self, _request: &Request) -> Trip {
        Trip::UNDISTURBED
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        Duration::ZERO
    }
}
