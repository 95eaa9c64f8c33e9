//! What operators live with: connections that break, an API server and an etcd that die, a leader that is killed.
//! On an API server alone; what was made is read in its own audit log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::bare::World;
use e2e::proxy::Proxy;
use e2e::wait_for;

/// All pods of so many jobs are there, each as this attempt, and none was ever made more often than that says.
fn assert_all_once(world: &World, namespace: &str, jobs: usize, attempt: u32) {
    let wanted = jobs * 4;
    let there = wait_for("all pods", || {
        Some(world.attempts(namespace))
            .filter(|there| there.len() == wanted && there.values().all(|is| *is == attempt.to_string()))
    });
    quiet(world);
    assert_eq!(world.attempts(namespace), there, "it goes on");
    let times = usize::try_from(attempt).unwrap() + 1;
    let doubled: BTreeMap<_, _> = world
        .creations(namespace)
        .into_iter()
        .filter(|(_, made)| *made > times)
        .collect();
    assert_eq!(doubled, BTreeMap::new(), "made more than {times} times");
}

/// Nothing is written any more.
fn quiet(world: &World) {
    let mut before = world.writes();
    wait_for("the operator to have nothing left to do", || {
        std::thread::sleep(Duration::from_secs(4));
        let now = world.writes();
        let still = now == before;
        before = now;
        still.then_some(())
    });
}

fn all_jobs(world: &World, namespace: &str, suspend: bool) {
    let jobs = world.must(&["-n", namespace, "get", "pytorchjobs", "-o", "name"]);
    let patch = format!("{{\"spec\": {{\"runPolicy\": {{\"suspend\": {suspend}}}}}}}");
    let jobs: Vec<&str> = jobs.lines().collect();
    let words = ["-n", namespace, "patch", "--type=merge", "-p", &patch];
    world.must(&[&words[..], &jobs].concat());
}

#[test]
fn a_connection_on_which_every_third_request_goes_wrong() {
    const JOBS: usize = 40;
    let _alone = e2e::alone(e2e::Exclusive::Processors);
    let world = World::start("faulty");
    let proxy = Proxy::start(&world.server.kubeconfig(), 7);
    world.must(&["create", "namespace", "faulty"]);
    // Nothing here takes the finalizer off a PodGroup that is deleted.
    let gangs = ["--gang-scheduler=none"];
    let operator = world.operator_through("default", proxy.kubeconfig(), &gangs);
    assert!(world.create_jobs("faulty", JOBS).wait().unwrap().success());
    wait_for("pods in spite of the faults", || {
        (world.count("faulty") == JOBS * 4).then_some(())
    });
    all_jobs(&world, "faulty", true);
    wait_for("all pods to go", || (world.count("faulty") == 0).then_some(()));
    all_jobs(&world, "faulty", false);
    wait_for("some pods again", || (world.count("faulty") > JOBS).then_some(()));
    proxy.set_faulty(false);
    println!("{:?}", proxy.happened());
    assert!(proxy.happened().len() == 7, "not all faults have happened");
    assert_all_once(&world, "faulty", JOBS, 1);
    drop(operator);
}

#[test]
fn etcd_and_the_api_server_die_in_a_burst_of_two_hundred_jobs() {
    const JOBS: usize = 200;
    let _alone = e2e::alone(e2e::Exclusive::Processors);
    let world = World::start("outage");
    world.must(&["create", "namespace", "outage"]);
    // All jobs wait when the operator starts: kubectl would not survive what follows.
    assert!(world.create_jobs("outage", JOBS).wait().unwrap().success());
    let _operator = world.operator("default");
    wait_for("a part of the pods", || {
        (world.count("outage") > 100).then_some(())
    });
    world.server.kill_etcd();
    wait_for("more pods", || (world.count("outage") > 350).then_some(()));
    world.server.kill_api_server();
    wait_for("yet more pods", || (world.count("outage") > 600).then_some(()));
    world.server.kill_etcd();
    world.server.kill_api_server();
    wait_for("all pods", || (world.count("outage") == JOBS * 4).then_some(()));
    assert_all_once(&world, "outage", JOBS, 0);
}

#[test]
fn the_leader_is_killed_in_a_burst_and_the_standby_takes_over() {
    const JOBS: usize = 100;
    let _alone = e2e::alone(e2e::Exclusive::Processors);
    let world = World::start("takeover");
    world.must(&["create", "namespace", "takeover"]);
    let leader = world.operator("default").leading();
    let standby = world.operator("default");
    wait_for("the standby to be up", || standby.answers().then_some(()));
    assert!(!standby.leads(), "two lead");
    let mut create = world.create_jobs("takeover", JOBS);
    wait_for("a part of the pods", || {
        (world.count("takeover") > 50).then_some(())
    });
    let killed = Instant::now();
    drop(leader);
    let at = world.count("takeover");
    wait_for("the standby to lead", || standby.leads().then_some(()));
    println!(
        "killed at {at} pods; the standby led after {:.1} s",
        killed.elapsed().as_secs_f64()
    );
    assert!(create.wait().unwrap().success());
    assert_all_once(&world, "takeover", JOBS, 0);
}
