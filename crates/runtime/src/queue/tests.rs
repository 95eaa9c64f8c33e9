use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::*;

fn queue() -> Arc<Queue<u32>> {
    let queue = Queue::new();
    queue.open();
    Arc::new(queue)
}

fn now_or_none(queue: &Queue<u32>) -> Option<u32> {
    queue.lock().take(Instant::now()).ok()
}

const LIMITS: Limits = Limits {
    concurrency: 4,
    most: 6,
    patience: Duration::from_secs(5),
    deadline: Duration::from_mins(1),
    drain: Duration::from_secs(10),
};

#[tokio::test(start_paused = true)]
async fn a_key_enqueued_often_runs_once() {
    let queue = queue();
    for _ in 0..5 {
        queue.enqueue(&1);
    }
    assert_eq!(queue.next().await, 1);
    assert_eq!(now_or_none(&queue), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_out_before_it_opens() {
    let queue = Queue::new();
    queue.enqueue(&1);
    assert_eq!(now_or_none(&queue), None);
    queue.open();
    assert_eq!(queue.next().await, 1);
}

#[tokio::test(start_paused = true)]
async fn of_several_requeue_times_the_earliest_holds() {
    let queue = queue();
    let start = Instant::now();
    queue.enqueue(&1);
    queue.next().await;
    queue.finish(&1, &Requeue::After(Some(Duration::from_mins(5))));
    queue
        .lock()
        .schedule(&1, start + Duration::from_secs(40), Priority::High);
    queue
        .lock()
        .schedule(&1, start + Duration::from_mins(10), Priority::High);
    queue.next().await;
    assert_eq!(start.elapsed(), Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn a_key_enqueued_during_a_run_runs_once_more() {
    let queue = queue();
    queue.enqueue(&1);
    queue.next().await;
    queue.enqueue(&1);
    queue.enqueue(&1);
    assert_eq!(now_or_none(&queue), None, "one run per key at a time");
    queue.finish(&1, &Requeue::After(None));
    assert_eq!(queue.next().await, 1);
    queue.finish(&1, &Requeue::After(None));
    assert_eq!(now_or_none(&queue), None);
    assert!(
        queue.lock().entries.is_empty(),
        "no entry is kept for an idle key"
    );
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_each_time_and_success_forgets_them() {
    let queue = queue();
    queue.enqueue(&1);
    for wanted in [0.2, 0.4, 0.8] {
        let start = Instant::now();
        queue.next().await;
        queue.finish(&1, &Requeue::Backoff(Duration::ZERO));
        queue.lock().take(start).unwrap_err();
        let due = queue.lock().entries[&1].due.unwrap().0 - Instant::now();
        assert!(
            (wanted * 0.79..wanted * 1.21).contains(&due.as_secs_f64()),
            "{due:?}"
        );
    }
    queue.next().await;
    queue.finish(&1, &Requeue::Backoff(Duration::from_secs(7)));
    assert!(queue.lock().entries[&1].due.unwrap().0 - Instant::now() >= Duration::from_secs(7));
    queue.next().await;
    queue.finish(&1, &Requeue::After(None));
    assert!(queue.lock().entries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn high_priority_overtakes_low_priority_and_low_priority_is_not_starved() {
    let queue = queue();
    for key in 100..200 {
        queue.enqueue_low_priority(&key);
    }
    assert!(queue.next().await >= 100);
    queue.enqueue(&1);
    assert_eq!(queue.next().await, 1);
    queue.enqueue(&150);
    assert_eq!(
        queue.next().await,
        150,
        "an event about a low-priority key makes it high priority"
    );
    for key in 0..50 {
        queue.enqueue(&key);
    }
    let mut order = Vec::new();
    for _ in 0..16 {
        order.push(queue.next().await);
    }
    assert_eq!(order.iter().filter(|key| **key >= 100).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_later_time_never_puts_off_low_priority_work_that_is_due() {
    let queue = queue();
    queue.enqueue(&1);
    queue.next().await;
    queue.enqueue_low_priority(&1);
    queue.finish(&1, &Requeue::After(Some(Duration::from_mins(10))));
    assert_eq!(now_or_none(&queue), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_or_a_run_without_end_costs_its_own_key_only() {
    let queue = queue();
    let (sent, mut done) = mpsc::unbounded_channel();
    let failures = Arc::new(AtomicUsize::new(0));
    for key in 0..3 {
        queue.enqueue(&key);
    }
    let serving = {
        let (queue, failures) = (Arc::clone(&queue), Arc::clone(&failures));
        tokio::spawn(async move {
            let work = move |key| {
                let sent = sent.clone();
                async move {
                    match key {
                        0 => panic!("poison"),
                        1 => std::future::pending().await,
                        _ => sent.send(key).unwrap(),
                    }
                    Requeue::After(None)
                }
            };
            let count = |_: &u32, _: RunFailure| {
                failures.fetch_add(1, Ordering::Relaxed);
            };
            serve(
                &queue,
                LIMITS,
                tokio::time::sleep(Duration::from_mins(1)),
                || false,
                work,
                count,
            )
            .await;
        })
    };
    assert_eq!(done.recv().await, Some(2));
    tokio::time::sleep(Duration::from_secs(59)).await;
    queue.enqueue(&3);
    assert_eq!(done.recv().await, Some(3));
    serving.await.unwrap();
    assert!(
        failures.load(Ordering::Relaxed) >= 6,
        "the panic was retried with growing delays"
    );
}

#[tokio::test(start_paused = true)]
async fn at_the_end_runs_under_way_get_time_to_end() {
    let queue = queue();
    let finished = Arc::new(AtomicUsize::new(0));
    queue.enqueue(&1);
    queue.enqueue(&2);
    let start = Instant::now();
    let work = |key: u32| {
        let finished = Arc::clone(&finished);
        async move {
            tokio::time::sleep(Duration::from_secs(if key == 1 { 3 } else { 30 })).await;
            finished.fetch_add(1, Ordering::Relaxed);
            Requeue::After(None)
        }
    };
    serve(
        &queue,
        LIMITS,
        tokio::time::sleep(Duration::from_secs(1)),
        || false,
        work,
        |_, _| {},
    )
    .await;
    assert_eq!(
        (finished.load(Ordering::Relaxed), start.elapsed()),
        (1, Duration::from_secs(11))
    );
}

/// Runs that wait for a response make room for others, up to a separate bound. Runs that wait for each other do not.
#[tokio::test(start_paused = true)]
async fn runs_that_wait_make_room_but_not_without_end() {
    for turn in [false, true] {
        let queue = Arc::new(queue());
        for key in 0..9 {
            queue.enqueue(&key);
        }
        let running = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&running);
        let work = move |_| {
            let count = Arc::clone(&count);
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
        };
        let stop = tokio::time::sleep(Duration::from_secs(50));
        let served = Arc::clone(&queue);
        let serve = async move { serve(&served, LIMITS, stop, move || turn, work, |_, _| {}).await };
        let serving = tokio::spawn(serve);
        let most = if turn { 4 } else { 6 };
        for (after, begun) in [(1, 4), (5, most), (30, most)] {
            tokio::time::sleep(Duration::from_secs(after)).await;
            assert_eq!(running.load(Ordering::SeqCst), begun, "{turn}");
        }
        serving.abort();
    }
}

/// In a burst all runs wait for a few permits: no run may miss its deadline because too many were started.
#[tokio::test(start_paused = true)]
async fn in_a_burst_runs_do_not_crowd_each_other_out() {
    let (queue, places) = (Arc::new(queue()), Arc::new(tokio::sync::Semaphore::new(4)));
    for key in 0..40 {
        queue.enqueue(&key);
    }
    let failures = Arc::new(AtomicUsize::new(0));
    let (own, count) = (Arc::clone(&places), Arc::clone(&failures));
    let work = move |_| {
        let places = Arc::clone(&own);
        async move {
            let requests = (0..8).map(|_| async {
                let _place = places.acquire().await;
                tokio::time::sleep(Duration::from_secs(6)).await;
            });
            futures::future::join_all(requests).await;
            Requeue::After(None)
        }
    };
    let limits = Limits { most: 32, ..LIMITS };
    let stop = tokio::time::sleep(Duration::from_mins(10));
    let miss = move |_: &u32, _| {
        count.fetch_add(1, Ordering::SeqCst);
    };
    serve(
        &queue,
        limits,
        stop,
        move || places.available_permits() == 0,
        work,
        miss,
    )
    .await;
    assert_eq!(failures.load(Ordering::SeqCst), 0);
}
