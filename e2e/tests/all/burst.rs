//! Many jobs at once, on an API server alone: no kubelet and no scheduler between the operator and the figures.

use std::time::{Duration, Instant};

use e2e::bare::World;
use e2e::incarnations::Watch;
use e2e::wait_for;

const JOBS: usize = 200;
const PODS_PER_JOB: usize = 4;
const PODS: usize = JOBS * PODS_PER_JOB;

/// Each replica was created once, whatever happened meanwhile.
fn assert_nothing_doubled(watch: &Watch) {
    let made = wait_for("the watch to show all pods", || {
        Some(watch.read()).filter(|made| made.len() >= PODS)
    });
    assert_eq!(made.len(), PODS);
    for ((name, attempt), uids) in made {
        assert_eq!((attempt.as_str(), uids.len()), ("0", 1), "{name}: {uids:?}");
    }
}

#[test]
fn two_hundred_jobs_at_once() {
    let _alone = e2e::alone(e2e::Exclusive::Processors);
    let world = World::start("burst");
    let watch = world.watch("burst");
    // All jobs wait when the operator starts: kubectl makes them too slowly to keep it busy.
    assert!(world.create_jobs("burst", JOBS).wait().unwrap().success());
    let begun = Instant::now();
    let operator = world.operator("default");
    // The watch begins with a pod of its own.
    while world.count("burst") < PODS + 1 {
        assert!(
            begun.elapsed() < e2e::PATIENCE,
            "{} pods after {:?}",
            world.count("burst"),
            begun.elapsed()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = begun.elapsed();
    let requests = operator.requests();
    assert_nothing_doubled(&watch);
    let mut sum = 0;
    for (labels, count) in requests {
        sum += count;
        println!("{count:>6}  {labels}");
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let (rate, each) = (PODS as f64 / took.as_secs_f64(), sum as f64 / JOBS as f64);
    println!(
        "{JOBS} jobs, {PODS} pods in {:.2} s from the operator's start: {rate:.0} pods per second",
        took.as_secs_f64()
    );
    println!("API requests per job until all its pods are there: {each:.2}");
    assert!(each <= 10.0, "{each} requests per job");
}

#[test]
fn killed_in_the_middle_of_two_hundred_jobs() {
    let _alone = e2e::alone(e2e::Exclusive::Processors);
    let world = World::start("killed");
    let mut operator = world.operator("default").leading();
    let watch = world.watch("killed");
    let mut create = world.create_jobs("killed", JOBS);
    // Another Lease for each: to wait for a dead leader's is another test's matter.
    for (pods, lease) in [(150, "kube-system"), (450, "kube-public")] {
        wait_for("the middle of the burst", || {
            (world.count("killed") > pods).then_some(())
        });
        drop(operator);
        println!("killed at {} pods", world.count("killed"));
        operator = world.operator(lease).leading();
    }
    assert!(create.wait().unwrap().success());
    wait_for("all pods", || (world.count("killed") > PODS).then_some(()));
    // A second pass over all of them would show here.
    std::thread::sleep(Duration::from_secs(3));
    drop(operator);
    assert_nothing_doubled(&watch);
    assert_eq!(world.count("killed"), PODS + 1);
}
