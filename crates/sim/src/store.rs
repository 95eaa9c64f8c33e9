//! State of the API server: objects, a version counter, a bounded history, and watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::selector::Selector;
use crate::types::{LEASES, Resource, Type};
use crate::value::{self, metadata};

/// An object as stored.
pub type Object = Arc<Value>;

/// Length of the history for watches that begin late.
const HISTORY: usize = 4096;

/// Key of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Resource.
    pub resource: Resource,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// Key of these parts.
    #[must_use]
    pub fn new(resource: Resource, namespace: &str, name: &str) -> Self {
        Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// Author of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// An operator, by the number of its process.
    Operator(usize),
    /// Any other client over HTTP.
    Client,
    /// The user, or the fault injector.
    User,
    /// A controller of Kubernetes.
    Kubernetes,
}

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    /// Version after the change.
    pub rv: u64,
    /// Key of the object.
    pub key: Key,
    /// Object before; `None` for a creation.
    pub before: Option<Object>,
    /// Object after; `None` for a deletion.
    pub after: Option<Object>,
    /// Author.
    pub by: Who,
    /// Time.
    pub at: Timestamp,
}

impl Change {
    /// The change in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let state = |object: &Option<Object>| {
            object.as_ref().map_or("-".to_owned(), |o| {
                let deleting = if value::deleting(o) { " deleting" } else { "" };
                let attempt = value::label(o, common::names::ATTEMPT).unwrap_or_default();
                let short = match &o["status"] {
                    Value::Null => String::new(),
                    status if o["kind"] == "Pod" => status["phase"].to_string(),
                    status => status.to_string(),
                };
                format!(
                    "[{attempt} {}{deleting} {short}]",
                    value::uid(o).trim_start_matches(['0', '-'])
                )
            })
        };
        let (key, at) = (&self.key, self.at.to_string());
        let (before, after) = (state(&self.before), state(&self.after));
        let before = if key.resource == crate::types::PODS {
            before
        } else {
            String::new()
        };
        format!(
            "{at} {:?} {} {}/{} {before} -> {after}",
            self.by, self.rv, key.resource.plural, key.name
        )
    }
}

/// A watch.
#[derive(Debug)]
struct Watcher {
    resource: Resource,
    namespace: String,
    selector: Selector,
    sender: mpsc::UnboundedSender<Frame>,
}

/// One item of a watch.
#[derive(Debug, Clone)]
pub enum Frame {
    /// `ADDED`, `MODIFIED` or `DELETED`, with the object.
    Event(&'static str, Object),
    /// The connection ends; if true, in the middle of a frame.
    Cut(bool),
    /// The connection stays open, but nothing more comes.
    Stall,
    /// The version is too old to continue from.
    Gone,
}

/// State of the API server.
#[derive(Debug)]
pub struct Store {
    /// Resources that are served.
    pub types: Vec<Arc<Type>>,
    objects: BTreeMap<Key, Object>,
    rv: u64,
    uids: u64,
    history: VecDeque<Change>,
    compacted: u64,
    watchers: BTreeMap<u64, Watcher>,
    next_watcher: u64,
    started: Instant,
    epoch: Timestamp,
    /// Notified of every change.
    pub changed: Arc<Notify>,
    /// Changes that were not processed yet.
    pub journal: Vec<Change>,
    /// Number of changes so far.
    pub changes: usize,
    /// Number of changes so far, without those of leases, which are renewed for as long as an operator runs.
    pub stirs: usize,
}

impl Store {
    /// An empty store that serves these resources.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn new(types: Vec<Arc<Type>>) -> Self {
        Self {
            types,
            objects: BTreeMap::new(),
            rv: 100,
            uids: 0,
            history: VecDeque::new(),
            compacted: 100,
            watchers: BTreeMap::new(),
            next_watcher: 0,
            started: Instant::now(),
            epoch: "2026-01-01T00:00:00Z".parse().expect("a time"),
            changed: Arc::new(Notify::new()),
            journal: Vec::new(),
            changes: 0,
            stirs: 0,
        }
    }

    /// Present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.epoch + self.started.elapsed()
    }

    /// Present time as API objects have it: whole seconds.
    #[must_use]
    pub fn time(&self) -> String {
        let now = Timestamp::from_second(self.now().as_second());
        now.map(|now| now.to_string()).unwrap_or_default()
    }

    /// Newest version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.rv
    }

    /// A UID that no other object has or had.
    pub fn uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    /// Type of a resource.
    #[must_use]
    pub fn type_of(&self, resource: Resource) -> Option<Arc<Type>> {
        self.types.iter().find(|t| t.resource == resource).cloned()
    }

    /// An object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Objects of a resource; of all namespaces if `namespace` is empty.
    pub fn list<'a>(
        &'a self,
        resource: Resource,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Object)> {
        let from = Key::new(resource, namespace, "");
        let all = self.objects.range(from..);
        all.take_while(move |(key, _)| {
            key.resource == resource && (namespace.is_empty() || key.namespace == namespace)
        })
    }

    /// Objects of a resource as a server sees them that is behind by so many versions, as far as the history goes.
    #[must_use]
    pub fn list_late(&self, resource: Resource, namespace: &str, behind: Duration) -> (u64, Vec<Object>) {
        let (mut rv, now) = (self.rv, self.now());
        let here =
            |key: &Key| key.resource == resource && (namespace.is_empty() || key.namespace == namespace);
        let mut objects: BTreeMap<&Key, &Object> = self.list(resource, namespace).collect();
        for change in self.history.iter().rev() {
            if behind.is_zero() || now > change.at + behind {
                break;
            }
            rv = change.rv - 1;
            match &change.before {
                _ if !here(&change.key) => {}
                Some(before) => drop(objects.insert(&change.key, before)),
                None => drop(objects.remove(&change.key)),
            }
        }
        (rv, objects.into_values().cloned().collect())
    }

    /// All objects.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.iter()
    }

    /// Object of a UID.
    #[must_use]
    pub fn by_uid(&self, uid: &str) -> Option<(&Key, &Object)> {
        self.objects.iter().find(|(_, object)| value::uid(object) == uid)
    }

    /// Puts an object and gives it a version. An unchanged object gets none.
    pub fn put(&mut self, by: Who, key: &Key, mut object: Value) -> Object {
        let before = self.objects.get(key).cloned();
        if let Some(before) = &before {
            metadata(&mut object).insert(
                "resourceVersion".to_owned(),
                before["metadata"]["resourceVersion"].clone(),
            );
            if object == **before {
                return Arc::clone(before);
            }
        }
        self.rv += 1;
        metadata(&mut object).insert("resourceVersion".to_owned(), json!(self.rv.to_string()));
        let object = Arc::new(object);
        self.objects.insert(key.clone(), Arc::clone(&object));
        self.record(by, key, before, Some(Arc::clone(&object)));
        object
    }

    /// Removes an object; its last state carries the version of the deletion.
    pub fn remove(&mut self, by: Who, key: &Key) -> Option<Object> {
        let before = self.objects.remove(key)?;
        self.rv += 1;
        let mut last = (*before).clone();
        metadata(&mut last).insert("resourceVersion".to_owned(), json!(self.rv.to_string()));
        let last = Arc::new(last);
        self.record(by, key, Some(Arc::clone(&last)), None);
        Some(last)
    }

    fn record(&mut self, by: Who, key: &Key, before: Option<Object>, after: Option<Object>) {
        let (rv, at) = (self.rv, self.now());
        let change = Change {
            rv,
            key: key.clone(),
            before,
            after,
            by,
            at,
        };
        self.watchers.retain(|_, watcher| match watcher.frame(&change) {
            Some(frame) => watcher.sender.send(frame).is_ok(),
            None => !watcher.sender.is_closed(),
        });
        self.history.push_back(change.clone());
        if self.history.len() > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.compacted = oldest.rv;
        }
        self.changes += 1;
        self.stirs += usize::from(key.resource != LEASES);
        self.journal.push(change);
        self.changed.notify_one();
    }

    /// Forgets the history: watches from older versions must list again.
    pub fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.rv;
    }

    /// Begins a watch at a version.
    pub fn watch(
        &mut self,
        resource: Resource,
        namespace: &str,
        selector: Selector,
        from: Option<u64>,
    ) -> mpsc::UnboundedReceiver<Frame> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let watcher = Watcher {
            resource,
            namespace: namespace.to_owned(),
            selector,
            sender,
        };
        match from {
            Some(from) if from < self.compacted => {
                let _ = watcher.sender.send(Frame::Gone);
                return receiver;
            }
            Some(from) => {
                let later = self.history.iter().filter(|change| change.rv > from);
                for frame in later.filter_map(|change| watcher.frame(change)) {
                    let _ = watcher.sender.send(frame);
                }
            }
            // Existing objects, as if they had just been created.
            None => {
                let there = self.list(resource, namespace);
                for (_, object) in there.filter(|(_, object)| watcher.selector.matches(object)) {
                    let _ = watcher.sender.send(Frame::Event("ADDED", Arc::clone(object)));
                }
            }
        }
        self.next_watcher += 1;
        self.watchers.insert(self.next_watcher, watcher);
        receiver
    }

    /// Sends this frame to the watches whose resource `which` selects; they get no changes after it.
    pub fn disturb(&mut self, frame: &Frame, mut which: impl FnMut(Resource) -> bool) {
        self.watchers.retain(|_, watcher| {
            let hit = which(watcher.resource);
            if hit {
                let _ = watcher.sender.send(frame.clone());
            }
            !hit
        });
    }
}

impl Watcher {
    /// Item of a watch for a change: with a selector, an object that no longer matches is deleted.
    fn frame(&self, change: &Change) -> Option<Frame> {
        let here = change.key.resource == self.resource
            && (self.namespace.is_empty() || change.key.namespace == self.namespace);
        if !here {
            return None;
        }
        let shown = |object: &Option<Object>| object.as_ref().filter(|o| self.selector.matches(o)).cloned();
        match (shown(&change.before), shown(&change.after)) {
            (None, None) => None,
            (None, Some(now)) => Some(Frame::Event("ADDED", now)),
            (Some(_), Some(now)) => Some(Frame::Event("MODIFIED", now)),
            (Some(before), None) => {
                let mut last = (*before).clone();
                metadata(&mut last).insert("resourceVersion".to_owned(), json!(change.rv.to_string()));
                Some(Frame::Event("DELETED", Arc::new(last)))
            }
        }
    }
}
