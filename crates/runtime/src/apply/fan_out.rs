//! Bounded parallel requests, few at first: a mistake in a template costs one request, not a thousand.

use futures::StreamExt;
use futures::stream::FuturesUnordered;

/// Largest number of requests of one job in flight.
pub(super) const WIDEST: usize = 32;

/// Sends requests in order, `window` of them at a time at first. Each success widens the window by one, so that it doubles with
/// every round. After a failure no more are sent; those in flight are waited for. Returns the failures in the order of the
/// requests, so that the same problem always gives the same message.
pub(super) async fn fan_out<F, E>(requests: impl Iterator<Item = F>, mut window: usize) -> Vec<E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut requests = requests.enumerate().fuse();
    let mut flight = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        while failed.is_empty() && flight.len() < window {
            let Some((number, request)) = requests.next() else {
                break;
            };
            flight.push(async move { request.await.map_err(|error| (number, error)) });
        }
        match flight.next().await {
            None => {
                failed.sort_by_key(|(number, _)| *number);
                return failed.into_iter().map(|(_, error)| error).collect();
            }
            Some(Ok(())) => window = window.saturating_add(1).min(WIDEST),
            Some(Err(error)) => failed.push(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_window_doubles_with_every_round() {
        let start = Instant::now();
        let request = |_| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<(), ()>(())
        };
        assert!(fan_out((0..63).map(request), 1).await.is_empty());
        assert_eq!(start.elapsed(), Duration::from_secs(6), "1, 2, 4, 8, 16, 32");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_come_in_the_order_of_the_requests() {
        let request = |seconds: u64| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Err::<(), u64>(seconds)
        };
        assert_eq!(
            fan_out([3, 1, 2].map(request).into_iter(), WIDEST).await,
            [3, 1, 2]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_nothing_more_is_sent() {
        let sent = AtomicUsize::new(0);
        let request = |n: usize| {
            sent.fetch_add(1, Ordering::Relaxed);
            async move { if n == 2 { Err(n) } else { Ok(()) } }
        };
        assert_eq!(fan_out((0..100).map(request), 1).await, [2]);
        assert!(sent.load(Ordering::Relaxed) <= 5, "requests in flight by then");
    }
}
