use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::lease::Leadership;
use crate::resource::{NODES, PODS, PRIORITY_CLASSES, Resource};
use crate::source::Shape;
use crate::view::View;

/// A watch to which the API server responds with this code.
fn watch_of(resource: Resource, shape: Shape, code: StatusCode) -> Watch {
    let client = kube::Client::new(Router::new().fallback(async move || code), "default");
    let metrics = Metrics::default();
    Watch {
        source: Source {
            resource,
            shape,
            namespace: None,
            selector: None,
        },
        api: Api::new(client, metrics.clone(), Arc::new(Leadership::always())),
        state: Arc::new(State::new(
            View::new([]),
            metrics.clone(),
            crate::clock::Clock::default(),
        )),
        metrics,
        listed: CancellationToken::new(),
        leads: CancellationToken::new(),
        listed_as_leader: CancellationToken::new(),
        reported: false,
    }
}

#[tokio::test]
async fn an_optional_right_that_is_missing_is_reported_once() {
    let cases = [
        (
            PRIORITY_CLASSES,
            Shape::PriorityClass,
            StatusCode::FORBIDDEN,
            true,
        ),
        (NODES, Shape::Node, StatusCode::FORBIDDEN, true),
        (NODES, Shape::Node, StatusCode::BAD_GATEWAY, false),
        (PODS, Shape::Pod, StatusCode::FORBIDDEN, false),
    ];
    for (resource, shape, code, once) in cases {
        let mut watch = watch_of(resource, shape, code);
        let error = watch.list().await.unwrap_err();
        // The objects could be read before.
        watch.listed.cancel();
        watch.report(&error, 1);
        watch.report(&error, 2);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &watch.metrics.registry()).unwrap();
        let counted = text.contains("watch_errors_total{");
        assert_eq!((watch.reported, counted), (once, !once), "{shape:?} {code}");
    }
}

/// The metric of the seconds since a watch brought anything.
fn idle(metrics: &Metrics) -> u64 {
    metrics.refresh(crate::metrics::ObjectCounts::default(), 0, false);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
    let name = "trainyard_watch_idle_seconds{resource=\"pods\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

/// A watch was silent for hours, and no metric showed it (kubernetes/kube-state-metrics#694,
/// emberstack/kubernetes-reflector#246).
#[tokio::test(start_paused = true)]
async fn the_metric_shows_a_silent_watch_until_its_next_event() {
    let speaks = Arc::new(AtomicBool::new(false));
    let (open, lists) = (Arc::clone(&speaks), Arc::new(AtomicUsize::new(0)));
    let listed = Arc::clone(&lists);
    let answer = move |uri: http::Uri| {
        let bookmarks = open.load(Ordering::SeqCst);
        let watches = uri.query().is_some_and(|query| query.contains("watch=true"));
        let counts = usize::from(!watches);
        let version = listed.fetch_add(counts, Ordering::SeqCst) + counts;
        let metadata = serde_json::json!({"resourceVersion": version.to_string()});
        async move {
            if !watches {
                let list = serde_json::json!({"metadata": metadata, "items": []});
                return axum::body::Body::from(list.to_string());
            }
            // The connection stays open, with or without bookmarks.
            axum::body::Body::from_stream(futures::stream::unfold((), move |()| {
                let bookmark = serde_json::json!({"type": "BOOKMARK", "object": {"metadata": metadata}});
                async move {
                    if !bookmarks {
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep(Duration::from_mins(1)).await;
                    Some((Ok::<_, std::io::Error>(format!("{bookmark}\n")), ()))
                }
            }))
        }
    };
    let mut watch = watch_of(PODS, Shape::Pod, StatusCode::OK);
    let client = kube::Client::new(Router::new().fallback(answer), "default");
    watch.api = Api::new(client, watch.metrics.clone(), Arc::new(Leadership::always()));
    let metrics = watch.metrics.clone();
    let running = tokio::spawn(watch.run());
    let wait = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
    wait(1).await;
    assert!(idle(&metrics) <= 1);
    // The watch is restarted again and again: that is no event.
    for so_far in [60, 120, 180, 240] {
        wait(60).await;
        assert!(
            (so_far..=so_far + 2).contains(&idle(&metrics)),
            "{so_far}: {}",
            idle(&metrics)
        );
    }
    assert_eq!(lists.load(Ordering::SeqCst), 1);
    speaks.store(true, Ordering::SeqCst);
    // After the third failure all objects are listed.
    wait(60).await;
    assert_eq!(lists.load(Ordering::SeqCst), 2);
    assert!(idle(&metrics) <= 60, "{}", idle(&metrics));
    for _ in 0..10 {
        wait(45).await;
        assert!(idle(&metrics) <= 60, "{}", idle(&metrics));
    }
    assert_eq!(lists.load(Ordering::SeqCst), 2);
    running.abort();
}

/// Bytes of frames, with some of them changed.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let metadata = r#""metadata":{"name":"p","namespace":"n","uid":"u","resourceVersion":"7","labels":{"a":"b"},"ownerReferences":[{"kind":"TestJob","name":"j","uid":"o","controller":true}]}"#;
    let texts: Vec<String> = [
        r#""spec":{"nodeName":"x"},"status":{"phase":"Failed","containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":1}}}]}"#,
        r#""spec":{"taints":[{"key":"k"}]},"status":{"conditions":[{"type":"Ready","status":"Unknown","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#,
        r#""spec":{"backoffLimit":2},"status":{"failed":1,"conditions":[{"type":"Complete","status":"True"}]}"#,
        r#""value":5"#,
        r#""code":410,"reason":"Expired","message":"too old""#,
    ]
    .iter()
    .flat_map(|rest| {
        ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "NEW"]
            .map(|type_| format!(r#"{{"type":"{type_}","object":{{{metadata},{rest}}}}}"#))
    })
    .collect();
    let change = (any::<usize>(), 0..3_u8, any::<u8>());
    (prop::sample::select(texts), prop::collection::vec(change, 0..5)).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for (at, what, byte) in changes {
            let at = at % bytes.len();
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at.max(1)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// More cases with `PROPTEST_CASES=1000000`.
    #[test]
    fn any_bytes_are_an_object_or_an_error(frames in prop::collection::vec(frames(), 1..6)) {
        let resources = [(PODS, Shape::Pod), (NODES, Shape::Node), (PRIORITY_CLASSES, Shape::PriorityClass)];
        let executor = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = executor.enter(); // the client needs one
        for (resource, shape) in resources {
            let watch = watch_of(resource, shape, StatusCode::OK);
            for frame in &frames {
                if let Ok(Some(version)) = watch.frame(frame) {
                    prop_assert!(decode::version(&version).is_ok() || !version.is_empty());
                }
            }
        }
    }
}
