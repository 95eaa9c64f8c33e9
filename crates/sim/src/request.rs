//! Requests of the API, parsed.

use std::sync::Arc;

use http::{Method, header};
use serde_json::Value;

use crate::store::Key;
use crate::types::{Resource, Type};

/// Verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `POST` to a collection.
    Create,
    /// `GET` of an object.
    Get,
    /// `GET` of a collection.
    List,
    /// `GET` of a collection with `watch`.
    Watch,
    /// `PUT`.
    Replace,
    /// `PATCH`.
    Patch,
    /// `DELETE` of an object.
    Delete,
    /// `GET` of the resources of a group and version.
    Discover,
}

impl Verb {
    /// True for verbs that change something.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::Create | Self::Replace | Self::Patch | Self::Delete => true,
            Self::Get | Self::List | Self::Watch | Self::Discover => false,
        }
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Verb.
    pub verb: Verb,
    /// Group in the path.
    pub group: String,
    /// Version in the path.
    pub version: String,
    /// Namespace in the path; empty if there is none.
    pub namespace: String,
    /// Plural in the path.
    pub plural: String,
    /// Name in the path; empty for a collection.
    pub name: String,
    /// Subresource in the path; empty if there is none.
    pub subresource: String,
    /// Parameters.
    pub query: Vec<(String, String)>,
    /// True if only metadata is requested.
    pub metadata_only: bool,
    /// Type of the body.
    pub content_type: String,
    /// Body; null if there is none.
    pub body: Value,
}

impl Request {
    /// Parses a request; `None` if its path is not one of the API.
    #[must_use]
    pub fn read(head: &http::request::Parts, body: &[u8]) -> Option<Self> {
        let path: Vec<&str> = head
            .uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        let (group, version, rest) = match path.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest != ["status"] => {
                (*namespace, rest)
            }
            rest => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [] => ("", "", ""),
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        let query: Vec<(String, String)> = head.uri.query().map(parameters).unwrap_or_default();
        let watch = query
            .iter()
            .any(|(key, value)| key == "watch" && (value == "true" || value == "1"));
        let verb = match (&head.method, name.is_empty()) {
            (_, _) if plural.is_empty() => Verb::Discover,
            (&Method::POST, true) => Verb::Create,
            (&Method::GET, true) if watch => Verb::Watch,
            (&Method::GET, true) => Verb::List,
            (&Method::GET, false) => Verb::Get,
            (&Method::PUT, false) => Verb::Replace,
            (&Method::PATCH, false) => Verb::Patch,
            (&Method::DELETE, false) => Verb::Delete,
            _ => return None,
        };
        let text = |name| {
            head.headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
        };
        Some(Self {
            verb,
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.to_owned(),
            plural: plural.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            query,
            metadata_only: text(header::ACCEPT).contains("as=PartialObjectMetadata"),
            content_type: text(header::CONTENT_TYPE).to_owned(),
            body: serde_json::from_slice(body).unwrap_or(Value::Null),
        })
    }

    /// A query parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self
            .query
            .iter()
            .find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// True if the request is about this resource.
    #[must_use]
    pub fn is_of(&self, resource: Resource) -> bool {
        self.group == resource.group && self.plural == resource.plural
    }

    /// Its resource, if that is served in this version.
    #[must_use]
    pub fn type_in(&self, types: &[Arc<Type>]) -> Option<Arc<Type>> {
        let mut all = types.iter().cloned();
        all.find(|t| self.is_of(t.resource) && t.versions.contains(&self.version))
    }

    /// Key of its object, by the path or else the body; `None` if no such resource is served.
    #[must_use]
    pub fn key_in(&self, types: &[Arc<Type>]) -> Option<Key> {
        let of = self.type_in(types)?;
        let name = match self.name.as_str() {
            "" => self.body.pointer("/metadata/name").and_then(Value::as_str)?,
            name => name,
        };
        Some(Key::new(of.resource, &self.namespace, name))
    }

    /// The request in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let verb = format!("{:?}", self.verb).to_lowercase();
        let slash = |part: &str| match part {
            "" => String::new(),
            part => format!("/{part}"),
        };
        let name = match self.name.as_str() {
            "" => self
                .body
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            name => name,
        };
        format!(
            "{verb} {}{}{}",
            self.plural,
            slash(name),
            slash(&self.subresource)
        )
    }
}

fn parameters(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

/// Percent-decoded text.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let code = (byte == b'%').then(|| {
            let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
            std::str::from_utf8(&digits)
                .ok()
                .and_then(|d| u8::from_str_radix(d, 16).ok())
        });
        out.push(match code {
            Some(code) => code.unwrap_or(b'?'),
            None if byte == b'+' => b' ',
            None => byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}
