//! Requests with their expected answers, for the API server in memory and for a real one: where both answer alike, tests
//! against the one apply to the other.
//!
//! Texts may contain `{ns}`, the namespace, and `{name.rv}`, `{name.uid}`, `{name.continue}`: version, UID and token of the
//! next page in the last answer that was kept under that name.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::value::text;

/// A request and its expected answer.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Subject.
    pub name: String,
    method: Method,
    path: String,
    body: Value,
    content_type: &'static str,
    accept: &'static str,
    /// Answer: code, and reason of a Status.
    wanted: (u16, &'static str),
    /// Pointers to the parts of the answer that are compared.
    shows: Vec<&'static str>,
    kept: &'static str,
    until: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Subject of the request.
    pub name: String,
    /// Code and reason.
    pub verdict: (u16, String),
    /// Compared parts, by pointer; of a watch its frames.
    pub shown: BTreeMap<String, Value>,
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
/// `Accept` for metadata only.
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// `Accept` for lists of metadata only.
pub const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

impl Operation {
    /// A request, and code and reason of the answer.
    #[must_use]
    pub fn new(name: &str, method: Method, path: &str, body: Value, wanted: (u16, &'static str)) -> Self {
        Self {
            name: name.to_owned(),
            content_type: if method == Method::PATCH { MERGE } else { JSON },
            method,
            path: path.to_owned(),
            body,
            accept: JSON,
            wanted,
            shows: Vec::new(),
            kept: "",
            until: false,
        }
    }

    /// Sets the compared parts of the answer.
    #[must_use]
    pub fn shows(self, pointers: &[&'static str]) -> Self {
        Self {
            shows: pointers.to_vec(),
            ..self
        }
    }

    /// Keeps the answer under a name.
    #[must_use]
    pub fn keep(self, kept: &'static str) -> Self {
        Self { kept, ..self }
    }

    /// Sets another `Accept`.
    #[must_use]
    pub fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    /// Sets another type of body.
    #[must_use]
    pub fn content(self, content_type: &'static str) -> Self {
        Self { content_type, ..self }
    }

    /// Repeats the request until the answer is the expected one.
    #[must_use]
    pub fn until(self) -> Self {
        Self { until: true, ..self }
    }

    /// Named after a kind.
    #[must_use]
    pub fn of_kind(self, kind: &str) -> Self {
        Self {
            name: format!("{kind}: {}", self.name),
            ..self
        }
    }
}

/// Sends all of them in order. Only types of answers are compared, so that any two servers can be.
///
/// # Panics
/// If there is no answer.
pub async fn drive(client: &Client, namespace: &str, operations: &[Operation]) -> Vec<Answered> {
    let mut kept: BTreeMap<&str, Value> = BTreeMap::new();
    let mut answers = Vec::new();
    for operation in operations {
        let filled = |text: &str| {
            let mut text = text.replace("{ns}", namespace);
            for (name, object) in &kept {
                text = text.replace(
                    &format!("{{{name}.rv}}"),
                    self::text(object, "/metadata/resourceVersion"),
                );
                text = text.replace(&format!("{{{name}.uid}}"), self::text(object, "/metadata/uid"));
                text = text.replace(
                    &format!("{{{name}.continue}}"),
                    self::text(object, "/metadata/continue"),
                );
            }
            text
        };
        let path = filled(&operation.path);
        let body = match &operation.body {
            Value::Null => Vec::new(),
            body => filled(&body.to_string()).into_bytes(),
        };
        let mut tries = 0;
        let (code, object, frames) = loop {
            let answer = ask(client, operation, &path, body.clone()).await;
            tries += 1;
            if !operation.until || answer.0 == operation.wanted.0 || tries > 120 {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        };
        if !operation.kept.is_empty() && code < 300 {
            kept.insert(operation.kept, object.clone());
        }
        let mut shown: BTreeMap<String, Value> = BTreeMap::new();
        if code < 300 {
            shown.extend(operation.shows.iter().map(|pointer| {
                let mut value = object.pointer(pointer).cloned().unwrap_or(Value::Null);
                if *pointer == "/metadata/deletionTimestamp" {
                    value = json!(!value.is_null());
                }
                ((*pointer).to_owned(), value)
            }));
        }
        if let Some(frames) = frames {
            shown.insert("frames".to_owned(), json!(frames));
        }
        let reason = if code < 300 { "" } else { text(&object, "/reason") };
        answers.push(Answered {
            name: operation.name.clone(),
            verdict: (code, reason.to_owned()),
            shown,
        });
    }
    answers
}

/// Answers that are not as expected.
#[must_use]
pub fn unexpected(operations: &[Operation], answers: &[Answered]) -> Vec<String> {
    let both = operations.iter().zip(answers);
    let wrong = both.filter(|(operation, answer)| {
        let (code, reason) = operation.wanted;
        answer.verdict != (code, reason.to_owned())
    });
    wrong
        .map(|(operation, answer)| {
            format!(
                "{}: {:?}, not {:?}",
                operation.name, answer.verdict, operation.wanted
            )
        })
        .collect()
}

async fn ask(
    client: &Client,
    operation: &Operation,
    path: &str,
    body: Vec<u8>,
) -> (u16, Value, Option<Vec<String>>) {
    let request = Request::builder()
        .method(operation.method.clone())
        .uri(path)
        .header(header::ACCEPT, operation.accept)
        .header(header::CONTENT_TYPE, operation.content_type)
        .body(Body::from(body))
        .expect("a request");
    let answer = client
        .send(request)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", operation.name));
    let code = answer.status().as_u16();
    if path.contains("watch=true") && code < 300 {
        return (code, Value::Null, Some(frames(answer.into_body()).await));
    }
    let bytes = answer.into_body().collect_bytes().await.expect("a body");
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null), None)
}

/// Type of each frame with the name of its object, or the code of an error.
async fn frames(body: Body) -> Vec<String> {
    let mut text = Vec::new();
    let mut stream = body.into_data_stream();
    while let Some(Ok(data)) = stream.next().await {
        text.extend_from_slice(&data);
    }
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let frames = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    // The time of bookmarks is up to the server.
    frames
        .filter(|frame| frame["type"] != "BOOKMARK")
        .map(|frame| {
            let object = &frame["object"];
            let what = match frame["type"].as_str() {
                Some("ERROR") => object["code"].to_string(),
                _ => format!(
                    "{} {}",
                    text_of(object, "/kind"),
                    text_of(object, "/metadata/name")
                ),
            };
            format!("{} {what}", text_of(&frame, "/type"))
        })
        .collect()
}

fn text_of(object: &Value, pointer: &str) -> String {
    text(object, pointer).to_owned()
}
