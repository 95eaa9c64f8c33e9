//! What storms have found, each told once more by itself.

use std::time::Duration;

use common::testing::whole;
use operator::FRAMEWORKS;
use runtime::GangChoice;
use serde_json::json;
use sim::cluster::{Cluster, NAMESPACE, Setup};
use sim::kubernetes::fail;
use sim::link::{Fate, Trip, Weather};
use sim::process::{Conduct, Process, WallClock};
use sim::refusal::Refusal;
use sim::request::{Request, Verb};
use sim::store::Key;
use sim::types::{PODS, Resource};

/// Deletes of this plural fail so often.
struct NoDeletes(&'static str, usize);

impl Weather for NoDeletes {
    fn trip(&mut self, request: &Request) -> Trip {
        if request.verb != Verb::Delete || request.plural != self.0 || self.1 == 0 {
            return Trip::FAIR;
        }
        self.1 -= 1;
        Trip {
            fate: Fate::Refused(Refusal::internal()),
            ..Trip::FAIR
        }
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        Duration::ZERO
    }
}

/// Seed 849: while the deletion of a job at the end of its time to live was held back after a refusal, passes followed
/// each other without a pause.
#[tokio::test(start_paused = true)]
async fn a_refused_deletion_of_a_job_is_waited_for() {
    for framework in FRAMEWORKS {
        let info = framework.kind();
        let cluster = Cluster::start(FRAMEWORKS, &Setup::default());
        let conduct = Conduct {
            frameworks: FRAMEWORKS.to_vec(),
            settings: common::Settings::default(),
            gang: GangChoice::Auto,
            elected: false,
        };
        let clock = WallClock::default();
        let weather = NoDeletes(info.plural, 5);
        let _process = Process::start(&cluster.shared, 1, &conduct, &clock, weather);
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
