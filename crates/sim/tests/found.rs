//! Bugs that chaos runs have found, each as a scenario of its own. (Their seeds are of an older generator.)

use std::time::Duration;

use common::testing::whole;
use operator::FRAMEWORKS;
use runtime::GangChoice;
use serde_json::{Value, json};
use sim::cluster::{Cluster, NAMESPACE, Setup};
use sim::kubernetes::fail;
use sim::network_faults::{Fault, NetworkFaults, NoFaults, Trip};
use sim::process::{Conduct, Process, WallClock};
use sim::refusal::Refusal;
use sim::request::{Request, Verb};
use sim::store::{Key, Who};
use sim::types::{PODS, Resource};

fn conduct(elected: bool) -> Conduct {
    Conduct {
        frameworks: FRAMEWORKS.to_vec(),
        settings: common::Settings::default(),
        gang: GangChoice::Auto,
        elected,
    }
}

/// Deletes of this plural fail so often.
struct NoDeletes(&'static str, usize);

impl NetworkFaults for NoDeletes {
    fn trip(&mut self, request: &Request) -> Trip {
        if request.verb != Verb::Delete || request.plural != self.0 || self.1 == 0 {
            return Trip::UNDISTURBED;
        }
        self.1 -= 1;
        Trip {
            fault: Fault::Refused(Refusal::internal()),
            ..Trip::UNDISTURBED
        }
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        Duration::ZERO
    }
}

/// Found by a chaos run: while the deletion of a job at the end of its time to live was held back after a refusal, passes followed
/// each other without a pause.
#[tokio::test(start_paused = true)]
async fn a_refused_deletion_of_a_job_is_waited_for() {
    for framework in FRAMEWORKS {
        let info = framework.kind();
        let cluster = Cluster::start(FRAMEWORKS, &Setup::default());
        let conduct = conduct(false);
        let clock = WallClock::default();
        let network = NoDeletes(info.plural, 5);
        let _process = Process::start(&cluster.shared, 1, &conduct, &clock, network);
        let jobs = Resource::new(info.group, info.plural);
        let mut manifest = whole(*framework, 1);
        manifest["spec"]["runPolicy"]["ttlSecondsAfterFinished"] = json!(1);
        cluster.shared.create(jobs, &manifest);
        tokio::time::sleep(Duration::from_secs(10)).await;
        for pod in cluster.shared.list(PODS) {
            let key = Key::new(PODS, NAMESPACE, sim::value::name(&pod));
            cluster.shared.store(|store| fail(store, &key, 0, None));
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(clock.complaint(), None, "{}", info.kind);
        assert!(
            cluster.shared.get(&Key::new(jobs, NAMESPACE, "j")).is_none(),
            "{}",
            info.kind
        );
    }
}

/// What changes of jobs of this plural reaches the watch late.
struct Late(&'static str);

impl NetworkFaults for Late {
    fn trip(&mut self, _request: &Request) -> Trip {
        Trip::UNDISTURBED
    }

    fn lag(&mut self, plural: &str) -> Duration {
        Duration::from_secs(if plural == self.0 { 80 } else { 0 })
    }
}

/// Found by a chaos run: who took over decided on what his watch had told him before it fell silent. He took a job that had been resumed
/// for a suspended one, and deleted its pods.
#[tokio::test(start_paused = true)]
async fn who_takes_over_lists_anew() {
    for framework in FRAMEWORKS {
        let info = framework.kind();
        let cluster = Cluster::start(FRAMEWORKS, &Setup::default());
        let conduct = conduct(true);
        let clock = WallClock::default();
        let leader = Process::start(&cluster.shared, 1, &conduct, &clock, NoFaults);
        let jobs = Resource::new(info.group, info.plural);
        let key = Key::new(jobs, NAMESPACE, "j");
        cluster.shared.create(jobs, &whole(*framework, 1));
        let suspend = |suspend: bool| {
            let edit = |job: &mut Value| job["spec"]["runPolicy"]["suspend"] = json!(suspend);
            cluster.shared.edit(&key, Who::User, edit);
        };
        tokio::time::sleep(Duration::from_secs(10)).await;
        suspend(true);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let _follower = Process::start(&cluster.shared, 2, &conduct, &clock, Late(info.plural));
        tokio::time::sleep(Duration::from_secs(5)).await;
        suspend(false);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!cluster.shared.list(PODS).is_empty(), "{}", info.kind);
        drop(leader);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(cluster.shared.lock().checker.violations, [""; 0], "{}", info.kind);
        assert!(
            cluster
                .shared
                .list(PODS)
                .iter()
                .all(|pod| sim::value::phase(pod) == "Running")
        );
    }
}

/// Dies of the first status that it would write after it has made a pod.
struct DiesBeforeTelling(bool);

impl NetworkFaults for DiesBeforeTelling {
    fn trip(&mut self, request: &Request) -> Trip {
        self.0 |= request.verb == Verb::Create && request.plural == PODS.plural;
        let fatal = self.0 && request.subresource == "status";
        let fault = Fault::Fatal { served: false };
        Trip {
            fault: if fatal { fault } else { Fault::None },
            ..Trip::UNDISTURBED
        }
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        Duration::ZERO
    }
}

/// Moves the label by which operators see pods out of the way, or back.
fn hide(cluster: &Cluster, from: &str, to: &str) {
    for pod in cluster.shared.list(PODS) {
        let key = Key::new(PODS, NAMESPACE, sim::value::name(&pod));
        cluster.shared.edit(&key, Who::User, |pod| {
            let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
            let label = labels.remove(from).unwrap();
            labels.insert(to.to_owned(), label);
        });
    }
}

/// Pods that were out of sight when the suspension was stored were deleted when they came back, but what they
/// were attempts of was made again once the job was resumed.
#[tokio::test(start_paused = true)]
async fn pods_unseen_when_their_job_was_suspended_are_not_made_twice() {
    for framework in FRAMEWORKS {
        let info = framework.kind();
        let cluster = Cluster::start(FRAMEWORKS, &Setup::default());
        let conduct = conduct(false);
        let clock = WallClock::default();
        let mut first = Process::start(&cluster.shared, 1, &conduct, &clock, DiesBeforeTelling(false));
        let jobs = Resource::new(info.group, info.plural);
        let key = Key::new(jobs, NAMESPACE, "j");
        cluster.shared.create(jobs, &whole(*framework, 1));
        first.ended().await;
        drop(first);
        let suspend = |suspend: bool| {
            let edit = |job: &mut Value| job["spec"]["runPolicy"]["suspend"] = json!(suspend);
            cluster.shared.edit(&key, Who::User, edit);
        };
        hide(&cluster, common::names::OPERATOR_NAME, "hidden");
        suspend(true);
        let _second = Process::start(&cluster.shared, 2, &conduct, &clock, NoFaults);
        tokio::time::sleep(Duration::from_secs(10)).await;
        hide(&cluster, "hidden", common::names::OPERATOR_NAME);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(cluster.shared.list(PODS).is_empty(), "{}", info.kind);
        suspend(false);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!cluster.shared.list(PODS).is_empty(), "{}", info.kind);
        assert_eq!(cluster.shared.lock().checker.violations, [""; 0], "{}", info.kind);
    }
}
