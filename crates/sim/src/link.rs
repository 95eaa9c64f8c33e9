//! Connections from a client to the API server, on which network faults happen.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::{Response, StatusCode, header};
use http_body::Frame as BodyFrame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{MOST_WRITES, Shared};
use crate::network_faults::{Fault, NetworkFaults};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::server::{Answer, Look, Watching};
use crate::store::{Frame, Who};

/// Interval at which a held watch checks whether it still is held.
const LOOK: Duration = Duration::from_millis(10);
/// Interval of bookmarks.
const BOOKMARKS: Duration = Duration::from_mins(1);

/// Body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The connections of one client.
#[derive(Clone)]
pub struct Link {
    who: Who,
    cluster: Shared,
    network: Arc<Mutex<dyn NetworkFaults>>,
    dead: Arc<AtomicBool>,
    cut_off: Arc<AtomicBool>,
    died: Arc<tokio::sync::Notify>,
}

impl Link {
    /// Connections of a client to a cluster.
    pub fn new(cluster: Shared, who: Who, network: impl NetworkFaults + 'static) -> Self {
        Self {
            who,
            cluster,
            network: Arc::new(Mutex::new(network)),
            dead: Arc::default(),
            cut_off: Arc::default(),
            died: Arc::default(),
        }
    }

    /// Lets the client die: nothing that it sends arrives any more.
    pub fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.died.notify_one();
    }

    /// Waits until the client has died of a fault.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// Cuts the client off, or reconnects it: while it is cut off, nothing arrives at either end.
    pub fn cut_off(&self, cut_off: bool) {
        self.cut_off.store(cut_off, Ordering::SeqCst);
    }

    fn is_silent(&self) -> bool {
        self.dead.load(Ordering::SeqCst) || self.cut_off.load(Ordering::SeqCst)
    }

    fn network(&self) -> MutexGuard<'_, dyn NetworkFaults + 'static> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self, plural: &str) -> bool {
        self.network().holds(plural)
    }

    /// Sends a request and waits for its answer.
    async fn send(self, head: http::request::Parts, body: kube::client::Body) -> io::Result<Response<Body>> {
        let bytes = body.collect_bytes().await.map_err(io::Error::other)?;
        let Some(request) = Request::read(&head, &bytes) else {
            return Ok(refusal(&Refusal::not_served()));
        };
        if self.cluster.lock().written.len() > MOST_WRITES {
            std::future::pending::<()>().await;
        }
        // Requests of a dead process do not count.
        if !self.dead.load(Ordering::SeqCst) {
            let inside = &mut *self.cluster.lock();
            inside.checker.sent(inside.server.store.now(), self.who, &request);
        }
        let trip = self.network().trip(&request);
        pause(trip.there).await;
        if self.is_silent() {
            std::future::pending::<()>().await;
        }
        let answer = match trip.fault {
            Fault::None => self.cluster.answer(self.who, &request),
            Fault::Refused(refusal) => Err(refusal),
            Fault::Answered(code, object) => Ok(Answer::Object(code, object)),
            Fault::Lost { served, broken } => {
                if served {
                    let _ = self.cluster.answer(self.who, &request);
                }
                if broken {
                    pause(trip.back).await;
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionReset,
                        "connection reset by peer",
                    ));
                }
                std::future::pending().await
            }
            Fault::Fatal { served } => {
                if served {
                    let _ = self.cluster.answer(self.who, &request);
                }
                self.die();
                std::future::pending().await
            }
        };
        pause(trip.back).await;
        if self.is_silent() {
            std::future::pending::<()>().await;
        }
        if let Ok(Answer::Object(_, object)) = &answer {
            let inside = &mut *self.cluster.lock();
            inside
                .checker
                .answered(inside.server.store.now(), self.who, &request, object);
        }
        Ok(match answer {
            Ok(Answer::Object(code, object)) => whole(code, &object),
            Ok(Answer::Watch(watching)) => self.watch(watching, &request.plural),
            Err(refused) => refusal(&refused),
        })
    }

    fn watch(self, watching: Watching, plural: &str) -> Response<Body> {
        let now = Instant::now();
        let stream = WatchStream {
            link: self,
            plural: plural.to_owned(),
            ends: watching.timeout.map(|seconds| now + Duration::from_secs(seconds)),
            bookmark: watching.bookmarks.then_some(now + BOOKMARKS),
            frames: watching.frames,
            kept: VecDeque::new(),
            look: watching.look,
            late: false,
            over: false,
        };
        let body = StreamBody::new(stream.into_stream());
        answer(200).body(body.boxed_unsync()).unwrap_or_default()
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn answer(code: u16) -> http::response::Builder {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, "application/json")
}

fn whole(code: u16, object: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(object.to_string()));
    answer(code)
        .body(body.map_err(never).boxed_unsync())
        .unwrap_or_default()
}

fn refusal(refused: &Refusal) -> Response<Body> {
    let text = match refused.reason {
        "" => refused.message.clone(),
        _ => refused.status().to_string(),
    };
    let body = Full::new(Bytes::from(text));
    let mut builder = answer(refused.code);
    if let Some(seconds) = refused.retry_after {
        builder = builder.header(header::RETRY_AFTER, seconds);
    }
    builder
        .body(body.map_err(never).boxed_unsync())
        .unwrap_or_default()
}

fn never(never: Infallible) -> io::Error {
    match never {}
}

/// A watch on its way to a client.
struct WatchStream {
    link: Link,
    plural: String,
    frames: tokio::sync::mpsc::UnboundedReceiver<Frame>,
    /// Events that have come while the watch was held.
    kept: VecDeque<Frame>,
    look: Look,
    bookmark: Option<Instant>,
    ends: Option<Instant>,
    late: bool,
    over: bool,
}

/// Next item of a watch.
enum Next {
    Frame(Frame),
    Bookmark,
    End,
}

impl WatchStream {
    fn into_stream(self) -> impl Stream<Item = io::Result<BodyFrame<Bytes>>> + Send {
        futures::stream::unfold(self, async |mut stream| {
            let line = stream.line().await?;
            Some((Ok(BodyFrame::data(Bytes::from(line))), stream))
        })
    }

    /// Next line, or the first part of a cut one.
    async fn line(&mut self) -> Option<String> {
        if self.over {
            return None;
        }
        let next = self.next().await;
        while self.link.is_silent() {
            // A dead client never reads again; one that was cut off may.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let line = |type_: &str, object: Value| format!("{}\n", json!({"type": type_, "object": object}));
        match next {
            Next::Frame(Frame::Event(type_, object)) => Some(line(type_, self.look.at(&object))),
            Next::Frame(Frame::Gone) => {
                self.over = true;
                Some(line("ERROR", Refusal::expired().status()))
            }
            Next::Frame(Frame::Cut(half)) => {
                self.over = true;
                half.then(|| "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"resourceV".to_owned())
            }
            Next::Frame(Frame::Stall) => std::future::pending().await,
            Next::Bookmark => {
                let rv = self.link.cluster.lock().server.store.version();
                if !self.is_empty() {
                    return Box::pin(self.line()).await;
                }
                Some(line("BOOKMARK", self.look.bookmark(rv)))
            }
            Next::End => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.kept.is_empty()
    }

    /// Waits as long as the watch is held. If the connection ends meanwhile, the events that were kept are lost.
    async fn stand_still(&mut self) -> Option<Frame> {
        while self.link.holds(&self.plural) {
            while let Ok(frame) = self.frames.try_recv() {
                if !matches!(frame, Frame::Event(..)) {
                    return Some(frame);
                }
                self.kept.push_back(frame);
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }

    async fn next(&mut self) -> Next {
        let far = Instant::now() + Duration::from_hours(24);
        if self.is_empty() {
            self.late = false;
        }
        let next = tokio::select! {
            biased;
            frame = std::future::ready(self.kept.pop_front()), if !self.kept.is_empty() => frame.map_or(Next::End, Next::Frame),
            frame = self.frames.recv() => frame.map_or(Next::End, Next::Frame),
            () = tokio::time::sleep_until(self.bookmark.unwrap_or(far)) => Next::Bookmark,
            () = tokio::time::sleep_until(self.ends.unwrap_or(far)) => Next::End,
        };
        if matches!(next, Next::Frame(Frame::Event(..)))
            && let Some(end) = self.stand_still().await
        {
            return Next::Frame(end);
        }
        match next {
            // All events behind this one are as late.
            Next::Frame(_) if !self.late => {
                let lag = self.link.network().lag(&self.plural);
                pause(lag).await;
                self.late = true;
            }
            Next::Bookmark => self.bookmark = Some(Instant::now() + BOOKMARKS),
            Next::Frame(_) | Next::End => {}
        }
        next
    }
}

impl tower_service::Service<http::Request<kube::client::Body>> for Link {
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<kube::client::Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        Box::pin(self.clone().send(head, body))
    }
}
