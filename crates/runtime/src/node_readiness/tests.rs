use common::observe::Phase;
use common::{Attempt, Uid};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn node(name: &str, rv: u64, silent_since: Option<i64>) -> NodeObject {
    NodeObject {
        name: name.into(),
        rv,
        seen: at(0),
        value: NodeView {
            silent_since: silent_since.map(at),
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

fn heard(list: Vec<NodeObject>) -> Nodes {
    let mut nodes = Nodes::default();
    nodes.replace(list, 10);
    nodes.heard(at(0));
    nodes
}

fn lost(nodes: &Nodes, pods: &[PodView], missing: &mut Missing, now: i64) -> Vec<(String, i64, bool)> {
    let lost = nodes.lost(pods.iter(), missing, at(now));
    let told = lost
        .into_iter()
        .map(|(name, l)| (name.to_string(), l.since.as_second(), l.gone));
    told.collect()
}

#[test]
fn a_heartbeat_is_no_news_and_a_change_is() {
    let mut nodes = heard(vec![node("a", 1, None), node("up", 1, None)]);
    assert!(!nodes.put(node("a", 2, None)), "a heartbeat");
    assert!(nodes.put(node("a", 3, Some(30))));
    assert!(!nodes.put(node("a", 4, Some(70))), "from NotReady to Unknown");
    assert!(!nodes.put(node("a", 2, None)), "a version of the past");
    let mut missing = Missing::new();
    assert_eq!(
        lost(&nodes, &[pod("a")], &mut missing, 99),
        [("a".into(), 30, false)]
    );
    assert!(nodes.put(node("a", 5, None)));
    assert!(lost(&nodes, &[pod("a")], &mut missing, 99).is_empty());
    assert!(nodes.put(node("a", 6, Some(200))));
    assert_eq!(
        lost(&nodes, &[pod("a")], &mut missing, 300),
        [("a".into(), 200, false)],
        "not since the first time"
    );
}

#[test]
fn a_node_falls_silent_by_our_clock() {
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
    let mut nodes = heard(first.map(|node| seen(node, 90)).into());
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
    let told = [("a", 100), ("b", 40), ("c", 120), ("new", 130)];
    assert_eq!(
        lost(&nodes, &pods, &mut Missing::new(), 200),
        told.map(|(name, since)| (name.into(), since, false)),
        "that of b is all that is known of it"
    );
}

#[test]
fn after_a_list_no_node_is_held_to_an_earlier_outage() {
    let mut nodes = heard(vec![
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
        lost(&nodes, &[pod("a"), pod("b")], &mut Missing::new(), 300),
        [("a".into(), 200, false), ("b".into(), 30, false)]
    );
}

#[test]
fn only_nodes_that_carry_a_pod_that_has_not_ended_are_told_of() {
    let nodes = heard(vec![
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
        lost(&nodes, &pods, &mut Missing::new(), 9),
        [("a".into(), 5, false)]
    );
}

#[test]
fn a_node_that_is_not_in_the_view_is_gone_from_when_that_was_found() {
    let mut nodes = heard(vec![node("a", 1, None)]);
    let mut missing = Missing::new();
    assert_eq!(
        lost(&nodes, &[pod("new")], &mut missing, 100),
        [("new".into(), 100, true)]
    );
    assert_eq!(
        lost(&nodes, &[pod("new")], &mut missing, 101),
        [("new".into(), 100, true)]
    );
    assert!(nodes.put(node("new", 20, None)), "the watch of nodes was behind");
    assert!(lost(&nodes, &[pod("new")], &mut missing, 102).is_empty());
    assert!(nodes.remove("new"));
    assert_eq!(
        lost(&nodes, &[pod("new")], &mut missing, 500),
        [("new".into(), 500, true)],
        "anew"
    );
    assert!(lost(&nodes, &[], &mut missing, 501).is_empty() && missing.is_empty());
}

#[test]
fn a_list_tells_what_is_gone_new_or_different() {
    let mut nodes = heard(vec![
        node("a", 1, None),
        node("b", 1, None),
        node("c", 1, None),
        node("younger", 30, None),
    ]);
    let news = nodes.replace(
        vec![node("a", 11, None), node("b", 12, Some(3)), node("d", 13, None)],
        20,
    );
    let mut news: Vec<_> = news.iter().map(|name| &**name).collect();
    news.sort_unstable();
    assert_eq!(news, ["b", "c", "d"]);
    assert!(nodes.answers("younger") && !nodes.answers("c"));
}

#[tokio::test(start_paused = true)]
async fn who_hears_nothing_of_nodes_says_nothing_of_them() {
    let mut nodes = Nodes::default();
    let mut missing = Missing::new();
    assert!(
        lost(&nodes, &[pod("a")], &mut missing, 1).is_empty(),
        "before the first list"
    );
    nodes.replace(vec![node("a", 1, Some(1)), node("up", 1, None)], 1);
    assert!(nodes.heard(at(0)), "the first time");
    assert_eq!(lost(&nodes, &[pod("a")], &mut missing, 2).len(), 1);
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(!nodes.heard(at(0)), "a bookmark");
    tokio::time::advance(SILENT).await;
    assert!(lost(&nodes, &[pod("a"), pod("gone")], &mut missing, 400).is_empty());
    assert!(missing.is_empty());
    assert!(nodes.heard(at(0)), "again");
    assert_eq!(
        lost(&nodes, &[pod("a")], &mut missing, 401),
        [("a".into(), 1, false)]
    );
}

#[test]
fn when_no_node_answers_it_is_not_they_that_are_lost() {
    let mut nodes = heard(vec![node("a", 1, Some(5)), node("b", 1, None)]);
    let mut missing = Missing::new();
    let pods = ["a", "b", "gone"].map(pod);
    let gone = || ("gone".into(), 100, true);
    let both = [("a".into(), 5, false), gone()];
    assert_eq!(lost(&nodes, &pods, &mut missing, 100), both);
    assert!(nodes.put(node("b", 2, Some(110))));
    assert!(!nodes.heard(at(110)));
    assert_eq!(lost(&nodes, &pods, &mut missing, 500), [gone()]);
    let mut vouched = node("b", 3, Some(110));
    vouched.value.out_of_service = true;
    assert!(nodes.put(vouched));
    let out = [("b".into(), 110, false), gone()];
    assert_eq!(lost(&nodes, &pods, &mut missing, 501), out);
    assert!(nodes.put(node("b", 4, None)));
    assert!(nodes.heard(at(600)), "there is news of a");
    let anew = [("a".into(), 600, false), gone()];
    assert_eq!(lost(&nodes, &pods, &mut missing, 601), anew, "b came first");
    assert!(!nodes.heard(at(700)));
    assert_eq!(lost(&nodes, &pods, &mut missing, 701), anew);
}
