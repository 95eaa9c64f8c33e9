//! The API server: takes a request, returns an answer. It has no network and no faults.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ops::{DeleteOptions, Deleted, Part, shown};
use crate::refusal::Refusal;
use crate::request::{Request, Verb};
use crate::selector::Selector;
use crate::store::{Frame, Key, Object, Store, Who};
use crate::types::Type;
use tokio::sync::mpsc::UnboundedReceiver;

/// Prefix of tokens of further pages.
const PAGE: &str = "page-";
/// Number of versions by which a server is behind that answers requests for any version.
const BEHIND: Duration = Duration::from_secs(3);

/// Items of a list when it began, for its further pages.
#[derive(Debug, Clone)]
struct Pages {
    rv: u64,
    rest: Vec<Object>,
}

/// The API server.
#[derive(Debug)]
pub struct Server {
    /// Its state.
    pub store: Store,
    pages: BTreeMap<String, Pages>,
    next_page: u64,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// One object.
    Object(u16, Value),
    /// A watch.
    Watch(Watching),
}

/// A watch that has begun.
#[derive(Debug)]
pub struct Watching {
    /// Its frames.
    pub frames: UnboundedReceiver<Frame>,
    /// Form in which objects are shown.
    pub look: Look,
    /// True if bookmarks are requested.
    pub bookmarks: bool,
    /// Seconds after which it ends.
    pub timeout: Option<u64>,
}

/// Form in which objects are shown to a client.
#[derive(Debug, Clone)]
pub struct Look {
    of: Arc<Type>,
    version: String,
    metadata_only: bool,
}

impl Look {
    /// An object in this form.
    #[must_use]
    pub fn at(&self, object: &Value) -> Value {
        if self.metadata_only {
            return json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
        }
        shown(&self.of, &self.version, object)
    }

    /// A bookmark at a version.
    #[must_use]
    pub fn bookmark(&self, rv: u64) -> Value {
        let object = json!({"metadata": {"resourceVersion": rv.to_string(), "creationTimestamp": null},
            "kind": self.of.kind, "apiVersion": self.of.api_version(&self.version)});
        if self.metadata_only {
            self.at(&object)
        } else {
            object
        }
    }
}

impl Server {
    /// An empty server of these resources.
    #[must_use]
    pub fn new(types: Vec<Arc<Type>>) -> Self {
        Self {
            store: Store::new(types),
            pages: BTreeMap::new(),
            next_page: 0,
        }
    }

    /// Serves a request.
    ///
    /// # Errors
    /// If it is refused.
    pub fn answer(&mut self, by: Who, request: &Request) -> Result<Answer, Refusal> {
        if request.verb == Verb::Discover {
            return self.discover(request);
        }
        let of = request
            .type_in(&self.store.types)
            .ok_or_else(|| self.unknown(request))?;
        let look = Look {
            of: of.clone(),
            version: request.version.clone(),
            metadata_only: request.metadata_only,
        };
        let part = match request.subresource.as_str() {
            "" => Part::Whole,
            "status" if of.status => Part::Status,
            _ => return Err(Refusal::not_served()),
        };
        let key = Key::new(of.resource, &request.namespace, &request.name);
        let (version, store) = (&request.version, &mut self.store);
        let object = match request.verb {
            Verb::Create => {
                let made = store.create(by, &of, version, &request.namespace, request.body.clone())?;
                return Ok(Answer::Object(201, look.at(&made)));
            }
            Verb::Get => {
                let found = store.get(&key).cloned();
                found.ok_or_else(|| Refusal::not_found(of.resource, &request.name))?
            }
            Verb::Replace => store.replace(by, &of, version, &key, part, request.body.clone())?,
            Verb::Patch if request.content_type.starts_with("application/merge-patch+json") => {
                store.merge_patch(by, &of, version, &key, part, &request.body)?
            }
            Verb::Patch => return Err(Refusal::unsupported()),
            Verb::Delete => return self.delete(by, &of, &key, &look, request),
            Verb::List => return self.list(request, &of, &look),
            Verb::Watch => return self.watch(request, &of, look),
            Verb::Discover => return Err(Refusal::not_served()),
        };
        Ok(Answer::Object(200, look.at(&object)))
    }

    /// Kubernetes' own groups answer with a Status if they do not serve a resource; other paths answer with plain text.
    fn unknown(&self, request: &Request) -> Refusal {
        let of = |t: &Arc<Type>| {
            !t.is_custom() && t.resource.group == request.group && t.versions.contains(&request.version)
        };
        if self.store.types.iter().any(of) {
            Refusal::no_such_resource()
        } else {
            Refusal::not_served()
        }
    }

    fn discover(&self, request: &Request) -> Result<Answer, Refusal> {
        let served = self
            .store
            .types
            .iter()
            .filter(|t| t.resource.group == request.group);
        let served = served.filter(|t| t.versions.contains(&request.version));
        let entries: Vec<Value> = served
            .map(|t| json!({"name": t.resource.plural, "kind": t.kind, "namespaced": t.namespaced, "verbs": ["list"]}))
            .collect();
        if entries.is_empty() {
            return Err(Refusal::not_served());
        }
        let of = format!("{}/{}", request.group, request.version);
        let list =
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": of, "resources": entries});
        Ok(Answer::Object(200, list))
    }

    fn delete(
        &mut self,
        by: Who,
        of: &Type,
        key: &Key,
        look: &Look,
        request: &Request,
    ) -> Result<Answer, Refusal> {
        let options = DeleteOptions::read(&request.body);
        Ok(match self.store.delete(by, key, &options)? {
            Deleted::Gone(last) if of.returns_deleted => Answer::Object(200, look.at(&last)),
            Deleted::Gone(last) => {
                let details = json!({"name": key.name, "kind": key.resource.plural, "group": key.resource.group,
                    "uid": last["metadata"]["uid"]});
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                    "details": details});
                Answer::Object(200, status)
            }
            Deleted::Going(object) => Answer::Object(200, look.at(&object)),
        })
    }

    fn list(&mut self, request: &Request, of: &Type, look: &Look) -> Result<Answer, Refusal> {
        let selector = selector(request)?;
        let stated = request
            .parameter("resourceVersion")
            .is_some_and(|version| version != "0");
        if request.parameter("continue").is_some() && stated {
            return Err(Refusal::bad_request("a page is of the version of its list"));
        }
        let Pages { rv, mut rest } = match request.parameter("continue") {
            Some(token) if !token.starts_with(PAGE) => {
                return Err(Refusal::bad_request("continue key is not valid"));
            }
            Some(token) => self.pages.get(token).cloned().ok_or_else(Refusal::expired)?,
            None => {
                // Any version will do: a server that is behind answers from its state.
                let any = request.parameter("resourceVersion") == Some("0");
                let behind = if any { BEHIND } else { Duration::ZERO };
                let (rv, mut rest) = self.store.list_late(of.resource, &request.namespace, behind);
                rest.retain(|object| selector.matches(object));
                Pages { rv, rest }
            }
        };
        let limit = request
            .parameter("limit")
            .and_then(|text| text.parse().ok())
            .unwrap_or(usize::MAX);
        let later = rest.split_off(limit.min(rest.len()));
        let mut meta = json!({"resourceVersion": rv.to_string()});
        if !later.is_empty() {
            self.next_page += 1;
            let token = format!("{PAGE}{}", self.next_page);
            meta["continue"] = json!(token);
            meta["remainingItemCount"] = json!(later.len());
            self.pages.insert(token, Pages { rv, rest: later });
        }
        let mut items: Vec<Value> = rest.iter().map(|object| look.at(object)).collect();
        let (kind, api_version) = if look.metadata_only {
            (
                "PartialObjectMetadataList".to_owned(),
                "meta.k8s.io/v1".to_owned(),
            )
        } else {
            (format!("{}List", of.kind), of.api_version(&look.version))
        };
        // Items of lists of built-in resources have no kind and version.
        if !of.is_custom() && !look.metadata_only {
            for item in &mut items {
                let fields = item.as_object_mut();
                fields.into_iter().for_each(|fields| {
                    fields.remove("kind");
                    fields.remove("apiVersion");
                });
            }
        }
        let list = json!({"kind": kind, "apiVersion": api_version, "metadata": meta, "items": items});
        Ok(Answer::Object(200, list))
    }

    fn watch(&mut self, request: &Request, of: &Type, look: Look) -> Result<Answer, Refusal> {
        let selector = selector(request)?;
        let from = match request.parameter("resourceVersion") {
            None | Some("0") => None,
            Some(text) => {
                let number = text.parse::<u64>();
                Some(number.map_err(|_| Refusal::not_a_version(text))?)
            }
        };
        let frames = self.store.watch(of.resource, &request.namespace, selector, from);
        Ok(Answer::Watch(Watching {
            frames,
            look,
            bookmarks: request.parameter("allowWatchBookmarks") == Some("true"),
            timeout: request
                .parameter("timeoutSeconds")
                .and_then(|text| text.parse().ok()),
        }))
    }
}

fn selector(request: &Request) -> Result<Selector, Refusal> {
    let text = request.parameter("labelSelector").unwrap_or_default();
    Selector::read(text).map_err(|why| Refusal::bad_request(&why))
}
