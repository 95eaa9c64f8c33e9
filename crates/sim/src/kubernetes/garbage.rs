//! Garbage collector: an object goes when all its owners are gone; an owner that is deleted in the foreground goes last.

use serde_json::Value;

use super::pace::Schedule;
use crate::ops::{DeleteOptions, FOREGROUND};
use crate::store::{Key, Store, Who};
use crate::value::{self, metadata, text};

pub(super) fn collect(store: &mut Store, schedule: &mut Schedule) {
    let owned: Vec<(Key, String, bool)> = store
        .all()
        .filter(|(_, object)| value::owners(object).next().is_some())
        .filter(|(_, object)| value::owners(object).all(|owner| !is_there(store, owner)))
        .map(|(key, object)| {
            (
                key.clone(),
                value::uid(object).to_owned(),
                value::deleting(object),
            )
        })
        .collect();
    for (key, uid, deleting) in owned {
        if !deleting && schedule.ripe(format!("collect {uid}"), schedule.pace.collect) {
            remove(store, &key, uid, "Background");
        }
    }
    let going: Vec<Key> = store
        .all()
        .filter(|(_, object)| value::deleting(object) && value::finalizers(object).any(|f| f == FOREGROUND))
        .map(|(key, _)| key.clone())
        .collect();
    for key in going {
        go_last(store, schedule, &key);
    }
}

/// Deletes the dependents first, then the owner.
fn go_last(store: &mut Store, schedule: &mut Schedule, key: &Key) {
    let Some(owner) = store.get(key).cloned() else {
        return;
    };
    let uid = value::uid(&owner);
    let refers = |object: &Value| value::owners(object).find(|o| text(o, "/uid") == uid).cloned();
    let dependents: Vec<(Key, String, bool, bool)> = store
        .all()
        .filter_map(|(key, object)| {
            let blocks = refers(object)?["blockOwnerDeletion"] == Value::Bool(true);
            Some((
                key.clone(),
                value::uid(object).to_owned(),
                value::deleting(object),
                blocks,
            ))
        })
        .collect();
    let blocked = dependents.iter().any(|(_, _, _, blocks)| *blocks);
    for (key, uid, deleting, _) in dependents {
        if !deleting && schedule.ripe(format!("collect {uid}"), schedule.pace.batch) {
            remove(store, &key, uid, "Background");
        }
    }
    if !blocked && schedule.ripe(format!("free {uid}"), schedule.pace.batch) {
        let mut owner = (*owner).clone();
        let rest: Vec<String> = value::finalizers(&owner)
            .filter(|f| *f != FOREGROUND)
            .map(str::to_owned)
            .collect();
        if rest.is_empty() {
            store.remove(Who::Kubernetes, key);
        } else {
            metadata(&mut owner).insert("finalizers".to_owned(), rest.into());
            store.put(Who::Kubernetes, key, owner);
        }
    }
}

fn is_there(store: &Store, owner: &Value) -> bool {
    store.by_uid(text(owner, "/uid")).is_some()
}

fn remove(store: &mut Store, key: &Key, uid: String, propagation: &str) {
    let options = DeleteOptions {
        uid: Some(uid),
        propagation: Some(propagation.to_owned()),
        ..DeleteOptions::default()
    };
    let _ = store.delete(Who::Kubernetes, key, &options);
}
