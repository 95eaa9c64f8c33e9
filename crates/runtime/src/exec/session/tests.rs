use std::sync::{Arc, Mutex};

use futures::stream;
use serde_json::{Value, json};

use super::*;

type Frames = Vec<Result<Message, Error>>;

/// Output that takes three bytes at a time, and has no room every second time.
#[derive(Clone, Default)]
struct Narrow(Arc<Mutex<(Vec<u8>, bool)>>);

impl Write for Narrow {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let (written, full) = &mut *self.0.lock().unwrap();
        *full = !*full;
        if *full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        written.extend(part.iter().take(3));
        Ok(part.len().min(3))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Result of receiving these frames, and the output that was forwarded.
async fn play(frames: Frames) -> (Result<Option<FinalStatus>, ExecError>, [Vec<u8>; 2]) {
    let ((to_out, out), (to_err, err)) = (mpsc::channel(1), mpsc::channel(1));
    // After the frames the connection is silent.
    let frames = Box::pin(stream::iter(frames).chain(stream::pending()));
    let (said, out, err) = tokio::join!(
        receive(frames, Some(SILENCE), to_out, to_err),
        collect(out),
        collect(err)
    );
    (said, [out, err])
}

async fn collect(mut parts: Receiver<Bytes>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(part) = parts.recv().await {
        all.extend(part);
    }
    all
}

fn status(status: &Value) -> Message {
    binary(FINAL_STATUS, status.to_string().as_bytes())
}

#[tokio::test(start_paused = true)]
async fn every_byte_arrives_on_its_channel_also_after_the_final_status() {
    let every: Vec<u8> = (0..=255).collect();
    let (said, [out, err]) = play(vec![
        Ok(binary(STDOUT, &[])),
        Ok(binary(STDOUT, &every)),
        Ok(binary(STDERR, b"oh")),
        Ok(status(&json!({"status": "Success"}))),
        Ok(binary(STDOUT, b"tail")),
        Err(Error::ConnectionClosed),
    ])
    .await;
    assert_eq!(
        (&out[..256], &out[256..], &err[..]),
        (&every[..], &b"tail"[..], &b"oh"[..])
    );
    assert_eq!(result(&said.unwrap().unwrap()).unwrap(), Try::Ended(0));
}

#[tokio::test(start_paused = true)]
async fn after_the_final_status_a_connection_may_stay_open() {
    let (said, _) = play(vec![Ok(status(&json!({"status": "Success"})))]).await;
    assert!(said.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_early_or_stops_answering_pings_is_broken() {
    let (closed, _) = play(vec![Ok(binary(STDOUT, b"x")), Ok(Message::Close(None))]).await;
    assert!(closed.unwrap().is_none());
    let (broken, [out, _]) = play(vec![Ok(binary(STDOUT, b"x")), Err(Error::AlreadyClosed)]).await;
    assert!(matches!(broken, Err(ExecError::Broken(_))) && out == b"x");
    let (silent, _) = play(vec![Ok(Message::Pong(Bytes::new()))]).await;
    assert!(silent.unwrap_err().to_string().contains("no sign of life"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answered_a_ping_may_be_silent() {
    let hour = Duration::from_hours(1);
    let silent = tokio::time::timeout(hour, play(vec![Ok(binary(STDOUT, b"x"))])).await;
    assert!(silent.is_err());
}

#[tokio::test(start_paused = true)]
async fn input_is_sent_with_its_end_and_pings_follow() {
    let (to_server, mut sent) = futures::channel::mpsc::unbounded();
    let to_server = to_server.sink_map_err(|_| Error::AlreadyClosed);
    let sending = send(to_server, Some(&b"in"[..]), true);
    let looking = async { [sent.next().await, sent.next().await, sent.next().await] };
    let seen = tokio::select! { seen = looking => seen, never = sending => match never {} };
    let ping = Message::Ping(Bytes::new());
    assert_eq!(
        seen,
        [
            Some(binary(STDIN, b"in")),
            Some(binary(END_OF, &[STDIN])),
            Some(ping)
        ]
    );
}

#[tokio::test]
async fn an_output_with_little_room_loses_nothing() {
    let (narrow, (parts, output)) = (Narrow::default(), mpsc::channel(1));
    let writing = write(output, narrow.clone());
    let sending = async {
        for part in [&b"abcdefg"[..], b"", b"h\0"] {
            forward(&parts, Bytes::from_static(part)).await.unwrap();
        }
        drop(parts);
    };
    let (written, ()) = tokio::join!(writing, sending);
    written.unwrap();
    assert_eq!(narrow.0.lock().unwrap().0, b"abcdefgh\0");
}

#[test]
fn only_a_command_that_was_not_started_is_tried_again() {
    let result_of = |status: Value, after_output| {
        let status = serde_json::from_value(status).unwrap();
        result(&FinalStatus { status, after_output })
    };
    let failure = |message: &str| json!({"status": "Failure", "message": message});
    let exit = json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated",
        "details": {"causes": [{"reason": "ExitCode", "message": "137"}]}});
    assert_eq!(result_of(exit, true).unwrap(), Try::Ended(137));
    let early =
        failure("Internal error occurred: unable to upgrade connection: container not found (\"mpi\")");
    assert!(matches!(result_of(early.clone(), false), Ok(Try::NotYet(_))));
    for (status, after_output) in [
        (early, true),
        (failure("unable to upgrade connection: Forbidden"), false),
        (
            failure("error executing command in container: container not found (\"mpi\")"),
            false,
        ),
        (json!({"status": "Failure"}), false),
    ] {
        assert!(matches!(
            result_of(status, after_output),
            Err(ExecError::Refused(_))
        ));
    }
}
