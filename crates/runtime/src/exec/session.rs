//! One connection to one command: frames of `v5.channel.k8s.io`, each of which starts with the number of a channel.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use futures::{Sink, SinkExt, Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::client::Connection;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::spawn_blocking;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::result::{ExecError, KUBELET_REFUSED, Try, is_early};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
/// Channel of the final Status.
const FINAL_STATUS: u8 = 3;
/// Frame that ends a channel; the number of that channel follows.
const END_OF: u8 = 255;
/// Period of pings, which keep proxies on the way from closing a silent connection.
const PING: Duration = Duration::from_secs(15);
/// Time without frames, pongs included, after which the other side is gone.
const SILENCE: Duration = Duration::from_mins(2);
/// Time to read on after the final Status: nothing should follow, but an output must not lose its end.
const LINGER: Duration = Duration::from_secs(2);
/// Number of frames, of up to 32 KiB, that each of the outputs may be behind.
const BEHIND: usize = 32;
/// Size of input frames.
const INPUT: usize = 32 * 1024;
/// Pause while a non-blocking output has no room.
const ROOM: Duration = Duration::from_millis(2);

/// Forwards input and output until the command ends.
pub(super) async fn hold(connection: Connection, stdin: bool) -> Result<Try, ExecError> {
    // An old server has no frame for the end of the input. Its end is then that of the command.
    let ends_input = connection.supports_stream_close();
    let (to_server, from_server) = connection.into_stream().split();
    // Separate files: the standard library buffers the text after the last line break.
    let own = (
        io::stdout().as_fd().try_clone_to_owned()?,
        io::stderr().as_fd().try_clone_to_owned()?,
    );
    let ((out, out_parts), (err, err_parts)) = (mpsc::channel(BEHIND), mpsc::channel(BEHIND));
    // A server that cannot deliver our input does not answer pings either.
    let patience = (!stdin).then_some(SILENCE);
    let forwarding = async {
        tokio::try_join!(
            receive(from_server, patience, out, err),
            write(out_parts, File::from(own.0)),
            write(err_parts, File::from(own.1)),
        )
    };
    let input = stdin.then(tokio::io::stdin);
    let (final_status, (), ()) = tokio::select! {
        ended = forwarding => ended?,
        never = send(to_server, input, ends_input) => match never {},
    };
    match final_status {
        Some(status) => result(&status),
        None => Err(ExecError::Broken(
            "it ended before the command's exit code was told".to_owned(),
        )),
    }
}

/// Final Status of the server; `after_output` is `true` if the command had written something.
#[derive(Debug, PartialEq)]
struct FinalStatus {
    status: Status,
    after_output: bool,
}

/// Receives frames until the connection ends. `patience` applies from the first pong on: a server that does not answer pings may
/// be silent.
async fn receive(
    mut frames: impl Stream<Item = Result<Message, Error>> + Unpin,
    patience: Option<Duration>,
    out: Sender<Bytes>,
    err: Sender<Bytes>,
) -> Result<Option<FinalStatus>, ExecError> {
    let (mut last, mut after_output, mut answers_pings) = (None, false, false);
    loop {
        let limit = match last {
            Some(_) => Some(LINGER),
            None => patience.filter(|_| answers_pings),
        };
        let frame = match limit {
            Some(limit) => tokio::time::timeout(limit, frames.next()).await,
            None => Ok(frames.next().await),
        };
        match frame {
            Ok(Some(Ok(Message::Binary(frame)))) => {
                let Some((channel, part)) = split(&frame) else {
                    continue;
                };
                after_output |= matches!(channel, STDOUT | STDERR);
                match channel {
                    STDOUT => forward(&out, part).await?,
                    STDERR => forward(&err, part).await?,
                    FINAL_STATUS => {
                        let status = read_status(&part);
                        last = Some(FinalStatus { status, after_output });
                    }
                    _ => {}
                }
            }
            Ok(Some(Ok(Message::Close(_))) | None) => return Ok(last),
            Ok(Some(Ok(frame))) => answers_pings |= frame.is_pong(),
            // Some servers close the connection without a Close frame.
            Ok(Some(Err(_))) | Err(_) if last.is_some() => return Ok(last),
            Ok(Some(Err(error))) => return Err(ExecError::Broken(error.to_string())),
            Err(_) => {
                let silence = SILENCE.as_secs();
                return Err(ExecError::Broken(format!("no sign of life for {silence} s")));
            }
        }
    }
}

/// Channel and content of a frame; each channel opens with a frame without content.
fn split(frame: &Bytes) -> Option<(u8, Bytes)> {
    let channel = *frame.first()?;
    (frame.len() > 1).then(|| (channel, frame.slice(1..)))
}

async fn forward(to: &Sender<Bytes>, part: Bytes) -> Result<(), ExecError> {
    // The error of the writer is the one that counts, and comes first.
    to.send(part)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe).into())
}

fn read_status(json: &[u8]) -> Status {
    serde_json::from_slice(json).unwrap_or_else(|_| Status {
        message: Some(String::from_utf8_lossy(json).into_owned()),
        ..Status::default()
    })
}

/// Writes each part at once, in a separate thread: an output that nothing reads stops neither the other output nor pings.
async fn write(mut parts: Receiver<Bytes>, mut to: impl Write + Send + 'static) -> Result<(), ExecError> {
    let written = spawn_blocking(move || {
        while let Some(part) = parts.blocking_recv() {
            write_all(&mut to, &part)?;
        }
        Ok(())
    });
    written
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(ExecError::Output)
}

/// Writes to a file that other processes share, one of which may have made it non-blocking.
fn write_all(to: &mut impl Write, mut part: &[u8]) -> io::Result<()> {
    while !part.is_empty() {
        match to.write(part) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => part = part.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(ROOM),
            Err(error) => return Err(error),
        }
    }
    to.flush()
}

/// Sends input and pings. Never returns: the end of the command, and a broken connection, are seen by the receiver only.
async fn send(
    mut frames: impl Sink<Message, Error = Error> + Unpin,
    mut input: Option<impl AsyncRead + Unpin>,
    ends_input: bool,
) -> Infallible {
    let mut alive = tokio::time::interval(PING);
    alive.reset();
    let mut buffer = vec![0; if input.is_some() { INPUT } else { 0 }];
    loop {
        let frame = tokio::select! {
            _ = alive.tick() => Message::Ping(Bytes::new()),
            read = read(&mut input, &mut buffer) => {
                if let Some(part) = read {
                    binary(STDIN, part)
                } else {
                    input = None;
                    if !ends_input {
                        continue;
                    }
                    binary(END_OF, &[STDIN])
                }
            }
        };
        if frames.send(frame).await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The next part of the input; `None` at its end, or if it cannot be read.
async fn read<'a>(input: &mut Option<impl AsyncRead + Unpin>, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    match input {
        Some(input) => match input.read(buffer).await {
            Ok(length) => buffer.get(..length).filter(|part| !part.is_empty()),
            Err(_) => None,
        },
        None => std::future::pending().await,
    }
}

fn binary(channel: u8, part: &[u8]) -> Message {
    let mut frame = Vec::with_capacity(part.len() + 1);
    frame.push(channel);
    frame.extend_from_slice(part);
    Message::binary(frame)
}

/// Result of the command by the final Status.
fn result(last: &FinalStatus) -> Result<Try, ExecError> {
    let FinalStatus { status, after_output } = last;
    if status.status.as_deref() == Some("Success") {
        return Ok(Try::Ended(0));
    }
    let causes = status.details.as_ref().and_then(|d| d.causes.as_deref());
    let code = causes
        .unwrap_or_default()
        .iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    if let Some(code) = code.and_then(|cause| cause.message.as_deref()?.parse().ok()) {
        return Ok(Try::Ended(code));
    }
    let message = status.message.clone().unwrap_or_default();
    if !after_output && message.contains(KUBELET_REFUSED) && is_early(&message) {
        Ok(Try::NotYet(message))
    } else {
        Err(ExecError::Refused(message))
    }
}

#[cfg(test)]
mod tests;
