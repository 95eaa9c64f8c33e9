//! Symptoms of other operators that show only between the operator and an API server; the others are told of plans alone, by
//! the operator's tests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::testing::{meanings, whole};
use operator::FRAMEWORKS;
use runtime::GangChoice;
use serde_json::{Value, json};
use sim::cluster::{Cluster, NAMESPACE, Setup};
use sim::network_faults::{Fault, NetworkFaults, Trip};
use sim::process::{Conduct, Process, WallClock};
use sim::refusal::Refusal;
use sim::request::{Request, Verb};
use sim::store::{Key, Who};
use sim::types::{EVENTS, PODS, Resource};
use sim::value;

/// The pod of this name must not be deleted: somebody's webhook says so.
#[derive(Clone, Default)]
struct Guarded(Arc<Mutex<Option<String>>>);

impl NetworkFaults for Guarded {
    fn trip(&mut self, request: &Request) -> Trip {
        let guarded = self.0.lock().unwrap();
        let is = request.verb == Verb::Delete && request.plural == "pods";
        if !is || guarded.as_deref() != Some(&*request.name) {
            return Trip::UNDISTURBED;
        }
        Trip {
            fault: Fault::Refused(Refusal::invalid("Pod", &request.name, "guarded")),
            ..Trip::UNDISTURBED
        }
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        Duration::ZERO
    }
}

/// trainer#366: one pod that cannot be deleted keeps all that is to be done from being done.
#[tokio::test(start_paused = true)]
async fn a_pod_that_must_not_be_deleted_is_told_of_and_keeps_no_other_one() {
    for framework in meanings(FRAMEWORKS) {
        let info = framework.kind();
        let cluster = Cluster::start(FRAMEWORKS, &Setup::default());
        let conduct = Conduct {
            frameworks: FRAMEWORKS.to_vec(),
            settings: common::Settings::default(),
            gang: GangChoice::Fixed(common::gang::Gang::None),
            elected: false,
        };
        let (clock, guarded) = (WallClock::default(), Guarded::default());
        let _process = Process::start(&cluster.shared, 1, &conduct, &clock, guarded.clone());
        let jobs = Resource::new(info.group, info.plural);
        let key = Key::new(jobs, NAMESPACE, "j");
        let mut manifest = whole(framework, 2);
        manifest["spec"]["runPolicy"] = json!({"suspend": false});
        cluster.shared.create(jobs, &manifest);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let pods = || {
            let pods = cluster.shared.list(PODS);
            pods.iter()
                .map(|pod| value::name(pod).to_owned())
                .collect::<Vec<_>>()
        };
        let stuck = pods().into_iter().find(|name| name.contains("-worker-")).unwrap();
        *guarded.0.lock().unwrap() = Some(stuck.clone());
        let suspend = |suspend: bool| {
            let edit = |job: &mut Value| job["spec"]["runPolicy"]["suspend"] = json!(suspend);
            cluster.shared.edit(&key, Who::User, edit);
        };
        suspend(true);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(pods(), [&*stuck], "{}", info.kind);
        let job = cluster.shared.get(&key).unwrap();
        let told = value::text(&job, "/status/waitingFor");
        assert!(
            told.contains(&stuck) && told.contains("guarded"),
            "{}: {told}",
            info.kind
        );
        let events = cluster.shared.list(EVENTS);
        let reasons: Vec<&str> = events.iter().map(|event| value::text(event, "/reason")).collect();
        assert!(reasons.contains(&"FailedDeletePod"), "{reasons:?}");
        assert!(!reasons.contains(&"FailedCreatePod"), "{reasons:?}");
        guarded.0.lock().unwrap().take();
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(pods(), [""; 0], "{}", info.kind);
        let job = cluster.shared.get(&key).unwrap();
        assert_eq!(value::text(&job, "/status/waitingFor"), "", "{}", info.kind);
        assert_eq!(clock.complaint(), None, "{}", info.kind);
        assert_eq!(cluster.shared.lock().checker.violations, [""; 0], "{}", info.kind);
    }
}
