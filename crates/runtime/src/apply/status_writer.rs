//! Writer of a job's status: a merge patch, conditional on the version that was decided on.

use std::time::Duration;

use common::api::JobStatus;
use common::observe::Vanished;
use common::{KindInfo, RawJob};
use serde_json::{Value, json};

use crate::decode;
use crate::merge_patch::merge_patch;
use crate::resource::{ObjectName, Resource};
use crate::response::RequestError;
use crate::state::Reconcile;

use super::context::ApplyContext;

/// Writer of the status in one reconcile, with the status that is stored as far as this reconcile knows.
#[derive(Debug)]
pub(super) struct StatusWriter {
    resource_version: String,
    status: Value,
    /// `true` if the next reconcile must see the vanished pods again.
    keeps_vanished: bool,
}

/// Time at which a status is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reported {
    /// The status is stored.
    Now,
    /// The status will be stored by a later reconcile, after this time at the earliest.
    Later(Duration),
    /// There is nothing to report before the writes succeed.
    WithWrites,
}

impl Reported {
    /// Time after which the job is due again.
    pub(super) fn again(self) -> Option<Duration> {
        match self {
            Self::Now | Self::WithWrites => None,
            Self::Later(delay) => Some(delay),
        }
    }
}

impl StatusWriter {
    /// Starts from the status that was decided on. A reconcile starts only when all our own writes are visible, so this is the
    /// last acknowledged status, or a younger one of another client.
    pub(super) fn new(job: &RawJob, keeps_vanished: bool) -> Self {
        let status = if job.status.is_null() {
            json!({})
        } else {
            job.status.clone()
        };
        Self {
            resource_version: job.resource_version.clone(),
            status,
            keeps_vanished,
        }
    }

    /// Vanished pods that the status takes account of.
    fn shown<'a>(&self, reconcile: &'a Reconcile) -> &'a [Vanished] {
        if self.keeps_vanished {
            &[]
        } else {
            &reconcile.observed.vanished
        }
    }

    /// Returns `true` if this status is stored already: an intent may have said everything.
    pub(super) fn says(&self, status: &JobStatus) -> bool {
        serde_json::to_value(status).is_ok_and(|status| status == self.status)
    }

    /// Stores a status now, unless it is stored already.
    pub(super) async fn store(
        &mut self,
        ctx: &ApplyContext,
        kind: &KindInfo,
        reconcile: &Reconcile,
        status: &JobStatus,
    ) -> Result<(), RequestError> {
        let new = serde_json::to_value(status)?;
        let Some(patch) = merge_patch(&self.status, &new) else {
            ctx.state.reported(reconcile.job(), self.shown(reconcile), false);
            return Ok(());
        };
        let job = reconcile.job();
        let name = ObjectName {
            namespace: job.key.namespace.clone(),
            name: job.key.name.clone(),
        };
        let body = json!({"metadata": {"resourceVersion": self.resource_version, "uid": job.uid.as_str()}, "status": patch});
        let response = ctx.api.patch_status(Resource::jobs(kind), &name, &body).await?;
        let identity = decode::identity(&response).map_err(|error| RequestError::unreadable(&error))?;
        ctx.state.wrote(job, Resource::jobs(kind), name, identity.rv);
        ctx.state.reported(job, self.shown(reconcile), true);
        tracing::info!(conditions = %summary(status), "status stored");
        self.resource_version = identity.resource_version;
        self.status = new;
        Ok(())
    }

    /// Stores a status now if it is status_is_urgent, or if the last one was stored a while ago.
    pub(super) async fn report(
        &mut self,
        ctx: &ApplyContext,
        kind: &KindInfo,
        reconcile: &Reconcile,
        status: &JobStatus,
        status_is_urgent: bool,
    ) -> Result<Reported, RequestError> {
        if let Some(delay) = reconcile.quiet_for.filter(|_| !status_is_urgent) {
            let new = serde_json::to_value(status)?;
            if new != self.status {
                return Ok(Reported::Later(delay));
            }
        }
        self.store(ctx, kind, reconcile, status)
            .await
            .map(|()| Reported::Now)
    }
}

/// Types of the conditions that are True, for the log.
fn summary(status: &JobStatus) -> String {
    let holds = status
        .conditions
        .iter()
        .filter(|c| c.status == common::api::ConditionStatus::True);
    holds.map(|c| c.type_.as_str()).collect::<Vec<_>>().join(",")
}
