use common::observe::Phase;
use common::{Attempt, Uid};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn node(name: &str, rv: u64, not_ready_since: Option<i64>) -> NodeObject {
    NodeObject {
        name: name.into(),
        rv,
        seen: at(0),
        value: NodeView {
            not_ready_since: not_ready_since.map(at),
            out_of_service: false,
        },
    }
}

fn pod(node: &str) -> PodView {
    PodView {
        name: "p".into(),
        uid: Uid::new("P"),
        attempt: Attempt(0),
        phase: Phase::Running,
        deleting: false,
        forced: false,
        ready: true,
        node: Some(node.into()),
        restarts: 0,
        gang: None,
        detail: None,
    }
}

fn listed(list: Vec<NodeObject>) -> Nodes {
    let mut nodes = Nodes::default();
    nodes.replace(list, 10);
    nodes.watch_progressed(at(0));
    nodes
}

fn unreachable(
    nodes: &Nodes,
    pods: &[PodView],
    known_gone: &mut GoneNodes,
    now: i64,
) -> Vec<(String, i64, bool)> {
    let found = nodes.unreachable(pods.iter(), known_gone, at(now));
    let found = found
        .into_iter()
        .map(|(name, l)| (name.to_string(), l.since.as_second(), l.gone));
    found.collect()
}

#[test]
fn a_heartbeat_is_no_change() {
    let mut nodes = listed(vec![node("a", 1, None), node("up", 1, None)]);
    assert!(!nodes.put(node("a", 2, None)), "a heartbeat");
    assert!(nodes.put(node("a", 3, Some(30))));
    assert!(!nodes.put(node("a", 4, Some(70))), "from NotReady to Unknown");
    assert!(!nodes.put(node("a", 2, None)), "a version of the past");
    let mut known_gone = GoneNodes::new();
    assert_eq!(
        unreachable(&nodes, &[pod("a")], &mut known_gone, 99),
        [("a".into(), 30, false)]
    );
    assert!(nodes.put(node("a", 5, None)));
    assert!(unreachable(&nodes, &[pod("a")], &mut known_gone, 99).is_empty());
    assert!(nodes.put(node("a", 6, Some(200))));
    assert_eq!(
        unreachable(&nodes, &[pod("a")], &mut known_gone, 300),
        [("a".into(), 200, false)],
        "not since the first time"
    );
}

#[test]
fn not_ready_times_are_by_our_clock() {
    let seen = |node: NodeObject, second: i64| NodeObject {
        seen: at(second),
        ..node
    };
    let first = [
        node("a", 1, None),
        node("b", 1, Some(40)),
        node("c", 1, None),
        node("up", 1, None),
    ];
    let mut nodes = listed(first.map(|node| seen(node, 90)).into());
    assert!(nodes.put(seen(node("a", 2, Some(30)), 100)));
    assert!(!nodes.put(seen(node("a", 3, Some(30)), 110)), "a taint");
    assert!(!nodes.put(seen(node("a", 4, Some(45)), 115)), "Unknown");
    nodes.replace(
        vec![
            seen(node("a", 4, Some(45)), 120),
            seen(node("b", 1, Some(40)), 120),
            seen(node("c", 5, Some(41)), 120),
            seen(node("up", 1, None), 120),
        ],
        20,
    );
    assert!(nodes.put(seen(node("new", 21, Some(50)), 130)));
    let pods = ["a", "b", "c", "new"].map(pod);
    let since = [("a", 100), ("b", 40), ("c", 120), ("new", 130)];
    assert_eq!(
        unreachable(&nodes, &pods, &mut GoneNodes::new(), 200),
        since.map(|(name, since)| (name.into(), since, false)),
        "that of b is all that is known of it"
    );
}

#[test]
fn after_a_list_no_node_is_held_to_an_earlier_outage() {
    let mut nodes = listed(vec![
        node("a", 1, Some(30)),
        node("b", 1, Some(30)),
        node("up", 1, None),
    ]);
    let list = vec![
        node("a", 11, Some(200)),
        node("b", 1, Some(30)),
        node("up", 1, None),
    ];
    assert_eq!(nodes.replace(list, 20).len(), 1);
    assert_eq!(
        unreachable(&nodes, &[pod("a"), pod("b")], &mut GoneNodes::new(), 300),
        [("a".into(), 200, false), ("b".into(), 30, false)]
    );
}

#[test]
fn only_nodes_that_carry_a_pod_that_has_not_ended_are_unreachable() {
    let nodes = listed(vec![
        node("a", 1, Some(5)),
        node("b", 1, Some(6)),
        node("c", 1, None),
    ]);
    let ended = PodView {
        phase: Phase::Succeeded,
        ..pod("b")
    };
    let waiting = PodView {
        node: None,
        ..pod("b")
    };
    let pods = [pod("a"), ended, waiting, pod("c")];
    assert_eq!(
        unreachable(&nodes, &pods, &mut GoneNodes::new(), 9),
        [("a".into(), 5, false)]
    );
}

#[test]
fn a_node_that_is_not_in_the_view_is_gone_from_when_that_was_found() {
    let mut nodes = listed(vec![node("a", 1, None)]);
    let mut known_gone = GoneNodes::new();
    assert_eq!(
        unreachable(&nodes, &[pod("new")], &mut known_gone, 100),
        [("new".into(), 100, true)]
    );
    assert_eq!(
        unreachable(&nodes, &[pod("new")], &mut known_gone, 101),
        [("new".into(), 100, true)]
    );
    assert!(nodes.put(node("new", 20, None)), "the watch of nodes was behind");
    assert!(unreachable(&nodes, &[pod("new")], &mut known_gone, 102).is_empty());
    assert!(nodes.remove("new"));
    assert_eq!(
        unreachable(&nodes, &[pod("new")], &mut known_gone, 500),
        [("new".into(), 500, true)],
        "gone again"
    );
    assert!(unreachable(&nodes, &[], &mut known_gone, 501).is_empty() && known_gone.is_empty());
}

#[test]
fn a_list_names_nodes_that_are_gone_new_or_different() {
    let mut nodes = listed(vec![
        node("a", 1, None),
        node("b", 1, None),
        node("c", 1, None),
        node("younger", 30, None),
    ]);
    let changed = nodes.replace(
        vec![node("a", 11, None), node("b", 12, Some(3)), node("d", 13, None)],
        20,
    );
    let mut changed: Vec<_> = changed.iter().map(|name| &**name).collect();
    changed.sort_unstable();
    assert_eq!(changed, ["b", "c", "d"]);
    assert!(nodes.is_ready("younger") && !nodes.is_ready("c"));
}

#[tokio::test(start_paused = true)]
async fn while_the_watch_is_silent_no_node_is_unreachable() {
    let mut nodes = Nodes::default();
    let mut known_gone = GoneNodes::new();
    assert!(
        unreachable(&nodes, &[pod("a")], &mut known_gone, 1).is_empty(),
        "before the first list"
    );
    nodes.replace(vec![node("a", 1, Some(1)), node("up", 1, None)], 1);
    assert!(nodes.watch_progressed(at(0)), "the first time");
    assert_eq!(unreachable(&nodes, &[pod("a")], &mut known_gone, 2).len(), 1);
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(!nodes.watch_progressed(at(0)), "a bookmark");
    tokio::time::advance(SILENT).await;
    assert!(unreachable(&nodes, &[pod("a"), pod("gone")], &mut known_gone, 400).is_empty());
    assert!(known_gone.is_empty());
    assert!(nodes.watch_progressed(at(0)), "again");
    assert_eq!(
        unreachable(&nodes, &[pod("a")], &mut known_gone, 401),
        [("a".into(), 1, false)]
    );
}

#[test]
fn when_no_node_is_ready_none_counts_as_unreachable() {
    let mut nodes = listed(vec![node("a", 1, Some(5)), node("b", 1, None)]);
    let mut known_gone = GoneNodes::new();
    let pods = ["a", "b", "gone"].map(pod);
    let gone = || ("gone".into(), 100, true);
    let both = [("a".into(), 5, false), gone()];
    assert_eq!(unreachable(&nodes, &pods, &mut known_gone, 100), both);
    assert!(nodes.put(node("b", 2, Some(110))));
    assert!(!nodes.watch_progressed(at(110)));
    assert_eq!(unreachable(&nodes, &pods, &mut known_gone, 500), [gone()]);
    let mut tainted = node("b", 3, Some(110));
    tainted.value.out_of_service = true;
    assert!(nodes.put(tainted));
    let out = [("b".into(), 110, false), gone()];
    assert_eq!(unreachable(&nodes, &pods, &mut known_gone, 501), out);
    assert!(nodes.put(node("b", 4, None)));
    assert!(nodes.watch_progressed(at(600)), "a is given more time");
    let later = [("a".into(), 600, false), gone()];
    assert_eq!(
        unreachable(&nodes, &pods, &mut known_gone, 601),
        later,
        "b came first"
    );
    assert!(!nodes.watch_progressed(at(700)));
    assert_eq!(unreachable(&nodes, &pods, &mut known_gone, 701), later);
}
