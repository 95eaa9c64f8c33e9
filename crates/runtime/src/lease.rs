//! Leader election over a Lease, with a fence: a monotonic deadline that is checked at each write.
//!
//! Own code rather than a crate, for two reasons: the fence needs the time at which the last renewal was sent; and the age of
//! another holder's lease must be measured by this machine's clock alone, from the time at which it was last *seen to change*.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff;
use crate::client::{Api, Gate};
use crate::clock::Clock;
use crate::resource::{LEASES, ObjectName};
use crate::response::RequestError;

/// Time that a lease holds after its last renewal.
const DURATION: Duration = Duration::from_secs(15);
/// Time after its last renewal at which the holder stops: before another process may take over.
const TRUST: Duration = Duration::from_secs(10);
/// Period of renewals, and of looks at another holder's lease.
const PERIOD: Duration = Duration::from_secs(3);

/// Identification of the lease.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub name: String,
    /// Unique name of this process.
    pub identity: String,
}

/// Leadership of this process.
#[derive(Debug, Clone)]
pub(crate) struct Leadership {
    /// Time from which milliseconds are counted, by a clock that cannot be set back.
    base: Instant,
    /// Milliseconds until which this process leads; 0 while it does not.
    until: Arc<AtomicU64>,
}

impl Default for Leadership {
    /// A process that does not lead yet.
    fn default() -> Self {
        Self {
            base: Instant::now(),
            until: Arc::default(),
        }
    }
}

impl Leadership {
    /// A process that leads without a lease.
    pub(crate) fn always() -> Self {
        let leadership = Self::default();
        leadership.until.store(u64::MAX, Ordering::SeqCst);
        leadership
    }

    fn hold_until(&self, deadline: Instant) {
        self.until.store(self.millis(deadline), Ordering::SeqCst);
    }

    fn let_go(&self) {
        self.until.store(0, Ordering::SeqCst);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }
}

impl Gate for Leadership {
    fn is_open(&self) -> bool {
        self.millis(Instant::now()) < self.until.load(Ordering::SeqCst)
    }
}

/// Lease of another holder as last seen.
#[derive(Debug)]
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// Takes part in the election: cancels `leads` when this process becomes the leader, then renews the lease. Returns when it is
/// lost.
pub(crate) async fn run(
    api: &Api,
    clock: &Clock,
    options: &LeaseOptions,
    leadership: &Leadership,
    leads: &CancellationToken,
) {
    let name = ObjectName::new(&options.namespace, &options.name);
    let mut seen: Option<Seen> = None;
    loop {
        let asked = Instant::now();
        match attempt(api, clock, options, &name, &mut seen).await {
            Ok(true) => {
                leadership.hold_until(asked + TRUST);
                if !leads.is_cancelled() {
                    tracing::info!(lease = options.name, identity = options.identity, "leading");
                    leads.cancel();
                }
            }
            Ok(false) if leads.is_cancelled() => {
                leadership.let_go();
                return;
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, lease = options.name, "lease could not be read or renewed"),
        }
        if leads.is_cancelled() && !leadership.is_open() {
            return;
        }
        tokio::time::sleep(backoff::jitter(PERIOD)).await;
    }
}

/// Reads the lease once, and takes or renews it if allowed. Returns `true` if this process holds it.
async fn attempt(
    api: &Api,
    clock: &Clock,
    options: &LeaseOptions,
    name: &ObjectName,
    seen: &mut Option<Seen>,
) -> Result<bool, RequestError> {
    let current: Lease = match tokio::time::timeout(PERIOD, api.get(LEASES, name)).await {
        Err(_) => return Err(RequestError::NoResponse("timed out".to_owned())),
        Ok(Ok(json)) => serde_json::from_slice(&json)?,
        Ok(Err(error)) if error.is_not_found() => {
            let lease = taken(Lease::default(), options, clock.now());
            let created = api.create(LEASES, &options.namespace, &lease).await;
            return created.map(|_| true).or_else(|error| {
                if error.is_already_exists() {
                    Ok(false)
                } else {
                    Err(error)
                }
            });
        }
        Ok(Err(error)) => return Err(error),
    };
    if !may_take(&current, options, seen) {
        return Ok(false);
    }
    let lease = taken(current, options, clock.now());
    match tokio::time::timeout(PERIOD, api.replace(LEASES, name, &lease)).await {
        Err(_) => Err(RequestError::NoResponse("timed out".to_owned())),
        Ok(Ok(_)) => Ok(true),
        // A conflict need not mean that the lease is lost: the next look decides.
        Ok(Err(error)) => Err(error),
    }
}

/// Returns `true` if the lease is ours, has no holder, or was not renewed for its whole duration while we watched.
fn may_take(current: &Lease, options: &LeaseOptions, seen: &mut Option<Seen>) -> bool {
    let spec = current.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() || holder == options.identity {
        return true;
    }
    let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
    let duration = seconds.map_or(DURATION, Duration::from_secs);
    match seen {
        Some(before) if before.spec == spec => before.since.elapsed() >= duration,
        _ => {
            *seen = Some(Seen {
                spec,
                since: Instant::now(),
            });
            false
        }
    }
}

fn taken(current: Lease, options: &LeaseOptions, now: Timestamp) -> Lease {
    let now = Some(MicroTime(now));
    let before = current.spec.unwrap_or_default();
    let same = before.holder_identity.as_deref() == Some(&options.identity);
    let transitions = before.lease_transitions.unwrap_or(0);
    let spec = LeaseSpec {
        holder_identity: Some(options.identity.clone()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: if same { before.acquire_time } else { now.clone() },
        renew_time: now,
        lease_transitions: Some(if same {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..LeaseSpec::default()
    };
    let metadata = ObjectMeta {
        name: Some(options.name.clone()),
        namespace: Some(options.namespace.clone()),
        resource_version: current.metadata.resource_version,
        ..ObjectMeta::default()
    };
    Lease {
        metadata,
        spec: Some(spec),
    }
}

/// Releases the lease, so that no other process has to wait for it to expire.
pub(crate) async fn release(api: &Api, options: &LeaseOptions, leadership: &Leadership) {
    leadership.let_go();
    let name = ObjectName::new(&options.namespace, &options.name);
    let done = async {
        let mut lease: Lease = serde_json::from_slice(&api.get(LEASES, &name).await?)?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&options.identity) {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            api.replace(LEASES, &name, &lease).await?;
        }
        Ok::<(), RequestError>(())
    };
    match tokio::time::timeout(PERIOD, done).await {
        Ok(Ok(())) => tracing::info!(lease = options.name, "lease given back"),
        Ok(Err(error)) => tracing::warn!(%error, "lease could not be given back"),
        Err(_) => tracing::warn!("lease could not be given back in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(identity: &str) -> LeaseOptions {
        LeaseOptions {
            namespace: "ns".into(),
            name: "lease".into(),
            identity: identity.into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_taken_only_after_it_stood_still_for_its_whole_duration() {
        let (ours, theirs) = (options("a"), options("b"));
        let mut seen = None;
        let mut lease = taken(Lease::default(), &theirs, Timestamp::UNIX_EPOCH);
        assert!(!may_take(&lease, &ours, &mut seen));
        tokio::time::advance(Duration::from_secs(14)).await;
        assert!(!may_take(&lease, &ours, &mut seen));
        lease.spec.as_mut().unwrap().renew_time = Some(MicroTime(Timestamp::MIN));
        assert!(
            !may_take(&lease, &ours, &mut seen),
            "renewed, whatever its clock says"
        );
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(may_take(&lease, &ours, &mut seen));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_ours_or_has_no_holder_is_taken_at_once() {
        let ours = options("a");
        let mut lease = taken(Lease::default(), &ours, Timestamp::UNIX_EPOCH);
        assert!(may_take(&lease, &ours, &mut None));
        assert_eq!(
            taken(lease.clone(), &ours, Timestamp::UNIX_EPOCH)
                .spec
                .unwrap()
                .lease_transitions,
            Some(1)
        );
        lease.spec.as_mut().unwrap().holder_identity = Some(String::new());
        assert!(may_take(&lease, &ours, &mut None));
        assert_eq!(
            taken(lease, &options("b"), Timestamp::UNIX_EPOCH)
                .spec
                .unwrap()
                .lease_transitions,
            Some(2)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_closes_by_itself() {
        let leadership = Leadership::default();
        assert!(!leadership.is_open());
        leadership.hold_until(Instant::now() + TRUST);
        assert!(leadership.is_open());
        tokio::time::advance(TRUST).await;
        assert!(!leadership.is_open());
        assert!(Leadership::always().is_open());
    }
}
