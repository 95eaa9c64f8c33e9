//! What a user who may create jobs, and no more, tries by way of the operator: the real one, on a cluster in memory. What
//! plans alone can show is in `attacks.rs` of the crate `operator`.

mod world;

use std::collections::BTreeMap;

use common::Framework;
use common::settings::ServiceMode;
use common::testing::whole;
use serde_json::{Value, json};
use sim::store::{Key, Who};
use sim::types::{BATCH_JOBS, CONFIG_MAPS, EVENTS, PODS, Resource, SECRETS};
use sim::value::{controller_uid, metadata, name, uid};

use world::{World, kinds, seconds};

/// In the Secrets of others.
const TREASURE: &str = "dGhlIHNlY3JldCBvZiBzb21lYm9keSBlbHNl";

/// What the operator makes for a job, pods of batch Jobs left out: those have names by chance.
async fn made(framework: &'static dyn Framework, mode: ServiceMode) -> BTreeMap<Key, Value> {
    let world = World::start(mode, 0);
    let job = world.create(framework, &whole(framework, 2));
    seconds(20).await;
    let mut objects = world.objects();
    let own = uid(&objects[&job]).to_owned();
    objects.retain(|key, object| key.resource != EVENTS && controller_uid(object) == own);
    assert!(objects.len() > 2, "{:?}", objects.keys());
    objects
}

/// An object of somebody else that looks like one of ours but for its owner.
fn foreign(key: &Key, like: &Value, owner: Option<&Value>) -> Value {
    let mut object = like.clone();
    let meta = metadata(&mut object);
    meta.retain(|field, _| ["name", "labels", "annotations"].contains(&field.as_str()));
    if let Some(owner) = owner {
        let reference = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": name(owner), "uid": uid(owner), "controller": true
        });
        meta.insert("ownerReferences".to_owned(), json!([reference]));
    }
    if key.resource == SECRETS {
        object["stringData"] = json!({"ssh-privatekey": TREASURE});
    }
    if key.resource == CONFIG_MAPS {
        object["data"] = json!({"hostfile": "mine", "treasure": "mine"});
    }
    object
}

/// What only its owner, or a controller of Kubernetes, changes.
fn essence(key: &Key, object: &Value) -> Value {
    let mut object = object.clone();
    if [PODS, BATCH_JOBS].contains(&key.resource) || key.resource.plural == "podgroups" {
        object["status"] = Value::Null;
        object["spec"]["nodeName"] = Value::Null;
        metadata(&mut object).remove("resourceVersion");
    }
    object
}

/// A job is created whose generated names are those of objects of others, one at a time; it is deleted again. The object is
/// what it was, to the byte, and what is in a Secret of others is nowhere else.
async fn takes_over_nothing(framework: &'static dyn Framework, mode: ServiceMode) -> usize {
    let mut tried = 0;
    for (key, like) in made(framework, mode).await {
        for owned in [false, true] {
            let world = World::start(mode, 0);
            let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keeper"}});
            let owner = world.shared().create(CONFIG_MAPS, &owner);
            let before = world
                .shared()
                .create(key.resource, &foreign(&key, &like, owned.then_some(&owner)));
            let job = world.create(framework, &whole(framework, 2));
            seconds(30).await;
            let what = format!(
                "{} of {} {}",
                key.name,
                framework.kind().kind,
                framework.kind().version
            );
            let status = world.shared().get(&job).unwrap()["status"].to_string();
            let events = world.shared().list(EVENTS);
            let status = format!("{status} {events:?}");
            assert!(status.contains(&*key.name), "{what} is not named: {status}");
            // As soon as anything else of the job changes, it is tried again.
            world.shared().edit(&job, Who::User, |job| {
                job["spec"]["runPolicy"]["backoffLimit"] = json!(9);
            });
            seconds(30).await;
            world.delete(&job);
            seconds(120).await;
            let after = world
                .shared()
                .get(&key)
                .unwrap_or_else(|| panic!("{what} is gone"));
            assert_eq!(
                essence(&key, &after).to_string(),
                essence(&key, &before).to_string(),
                "{what}, owned: {owned}"
            );
            assert_eq!(world.violations(), [""; 0], "{what}");
            assert_eq!(*world.reads.lock().unwrap(), [""; 0], "{what}");
            for (other, object) in world.objects() {
                assert!(
                    other == key || !object.to_string().contains(TREASURE),
                    "{other:?}"
                );
            }
            tried += 1;
        }
    }
    tried
}

#[tokio::test(start_paused = true)]
async fn objects_of_others_under_generated_names_stay_as_they_are() {
    let mut tried = 0;
    for framework in kinds() {
        for mode in [ServiceMode::Job, ServiceMode::PerReplica] {
            tried += takes_over_nothing(framework, mode).await;
        }
    }
    println!("{tried} objects were let alone");
    assert!(tried > 100, "{tried}");
}

/// A launcher never runs under an account of that name that is somebody else's, and a Role of somebody else is never bound.
#[tokio::test(start_paused = true)]
async fn an_account_or_role_of_others_is_given_to_no_pod() {
    let mut tried = 0;
    for framework in kinds() {
        for (key, like) in made(framework, ServiceMode::Job).await {
            if !["serviceaccounts", "roles", "rolebindings", "secrets"].contains(&key.resource.plural) {
                continue;
            }
            let world = World::start(ServiceMode::Job, 0);
            world.shared().create(key.resource, &foreign(&key, &like, None));
            world.create(framework, &whole(framework, 2));
            seconds(60).await;
            let objects = world.objects();
            let there = |resource: Resource| objects.keys().filter(|key| key.resource == resource).count();
            assert_eq!((there(PODS), there(BATCH_JOBS)), (0, 0), "{key:?}");
            if key.resource.plural == "roles" {
                assert!(!objects.keys().any(|key| key.resource.plural == "rolebindings"));
            }
            tried += 1;
        }
    }
    assert_eq!(
        tried, 4,
        "an account, a role and a binding of v1 MPIJobs, and the keys of v2beta1"
    );
}

/// Finalizers of a template hold up the job of whoever wrote them, and nobody else's.
#[tokio::test(start_paused = true)]
async fn finalizers_in_a_template_cost_only_their_own_job() {
    for framework in kinds() {
        let world = World::start(ServiceMode::Job, 0);
        let mut manifest = whole(framework, 2);
        let roles = manifest["spec"][framework.kind().replicas_field]
            .as_object_mut()
            .unwrap();
        for role in roles.values_mut() {
            role["template"]["metadata"] = json!({"finalizers": ["example.com/forever"]});
        }
        let held = world.create(framework, &manifest);
        seconds(20).await;
        world.shared().edit(&held, Who::User, |job| {
            job["spec"]["runPolicy"]["suspend"] = json!(true);
        });
        let mut other = whole(framework, 2);
        other["metadata"]["name"] = json!("other");
        let other = world.create(framework, &other);
        seconds(60).await;
        let is_true = |key: &Key, type_: &str| sim::value::is_true(&world.shared().get(key).unwrap(), type_);
        assert!(is_true(&held, "Suspended"), "{}", framework.kind().kind);
        assert!(is_true(&other, "Running"), "{}", framework.kind().kind);
        assert_eq!(world.violations(), [""; 0]);
    }
}
