//! A job of each kind, from its creation to its success.
use std::time::Duration;

use common::testing::{meanings, whole};
use operator::FRAMEWORKS;
use sim::cluster::{Cluster, Setup, NAMESPACE};
use sim::link::Fair;
use sim::process::{Conduct, Process, Watch};
use sim::types::{self, PODS};
use sim::store::Key;

#[tokio::test(start_paused = true)]
async fn a_job_of_each_kind_runs() {
    for framework in meanings(FRAMEWORKS) {
        let cluster = Cluster::start(FRAMEWORKS, &Setup::default());
        let conduct = Conduct { frameworks: FRAMEWORKS.to_vec(), settings: common::Settings::default(), gang: runtime::GangChoice::Auto, elected: false };
        let _op = Process::start(&cluster.shared, 0, &conduct, &Watch::default(), Fair);
        let jobs = sim::types::Resource::new(framework.kind().group, framework.kind().plural);
        cluster.shared.create(jobs, &whole(framework, 2));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let key = Key::new(jobs, NAMESPACE, "j");
        println!("{}", cluster.shared.get(&key).unwrap()["status"]);
        for pod in cluster.shared.list(PODS) { println!("{} {}", sim::value::name(&pod), sim::value::phase(&pod)); }
        for w in &cluster.shared.lock().written { println!("  {} {}", w.code, w.line); }
        for v in &cluster.shared.lock().judge.violations { println!("  VIOLATION {v}"); }
    }
    let _ = types::PODS;
}
