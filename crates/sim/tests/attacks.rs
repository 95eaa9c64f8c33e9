//! What a user who may create jobs, and no more, tries by way of the operator: the real one, on a cluster in memory. What
//! plans alone can show is in `attacks.rs` of the crate `operator`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::duration_suboptimal_units,
    reason = "tests fail by panicking, and read better without ceremony"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::Framework;
use common::gang::PodGroupApi;
use common::resolve::ServiceMode;
use common::testing::{meanings, whole};
use operator::FRAMEWORKS;
use runtime::GangChoice;
use serde_json::{Value, json};
use sim::cluster::{Cluster, NAMESPACE, Setup, Shared};
use sim::kubernetes::fail;
use sim::link::{Fate, Trip, Weather};
use sim::ops::DeleteOptions;
use sim::process::{Conduct, Process, WallClock};
use sim::refusal::Refusal;
use sim::request::{Request, Verb};
use sim::store::{Key, Who};
use sim::types::{BATCH_JOBS, CONFIG_MAPS, EVENTS, LEASES, NAMESPACES, NODES, PODS, Resource, SECRETS};
use sim::value::{controller_uid, label, metadata, name, uid};

/// In the Secrets of others.
const TREASURE: &str = "dGhlIHNlY3JldCBvZiBzb21lYm9keSBlbHNl";

/// Looks at the requests of the operator.
#[derive(Default)]
struct Spy {
    /// Requests for Secrets that show more than their metadata.
    reads: Arc<Mutex<Vec<String>>>,
    /// So many writes of Secrets fail.
    refused: usize,
}

impl Weather for Spy {
    fn trip(&mut self, request: &Request) -> Trip {
        let of_secrets = request.is_of(SECRETS);
        let reads = matches!(request.verb, Verb::Get | Verb::List | Verb::Watch);
        if of_secrets && ((reads && !request.metadata_only) || request.verb == Verb::List) {
            self.reads.lock().unwrap().push(request.line());
        }
        if of_secrets && request.verb == Verb::Create && self.refused > 0 {
            self.refused -= 1;
            let why = Refusal::internal();
            return Trip {
                fate: Fate::Refused(why),
                ..Trip::FAIR
            };
        }
        Trip::FAIR
    }

    fn lag(&mut self, _plural: &str) -> Duration {
        Duration::ZERO
    }
}

/// A cluster, and the operator on it.
struct World {
    cluster: Cluster,
    reads: Arc<Mutex<Vec<String>>>,
    _process: Process,
}

impl World {
    fn start(mode: ServiceMode, refused: usize) -> Self {
        let setup = Setup {
            pod_groups: vec![PodGroupApi::Native],
            ..Setup::default()
        };
        let cluster = Cluster::start(FRAMEWORKS, &setup);
        let conduct = Conduct {
            frameworks: FRAMEWORKS.to_vec(),
            settings: common::Settings {
                service_mode: mode,
                ..common::Settings::default()
            },
            gang: GangChoice::Auto,
            elected: false,
        };
        let spy = Spy {
            refused,
            ..Spy::default()
        };
        let reads = Arc::clone(&spy.reads);
        let process = Process::start(&cluster.shared, 1, &conduct, &WallClock::default(), spy);
        Self {
            cluster,
            reads,
            _process: process,
        }
    }

    fn shared(&self) -> &Shared {
        &self.cluster.shared
    }

    /// All objects but those that tell nothing of jobs.
    fn objects(&self) -> BTreeMap<Key, Value> {
        let aside = [LEASES, NAMESPACES, NODES];
        let inside = self.shared().lock();
        let all = inside.server.store.all();
        all.filter(|(key, _)| !aside.contains(&key.resource))
            .map(|(key, object)| (key.clone(), (**object).clone()))
            .collect()
    }

    fn create(&self, framework: &dyn Framework, manifest: &Value) -> Key {
        let info = framework.kind();
        let jobs = Resource::new(info.group, info.plural);
        let made = self.shared().create(jobs, manifest);
        Key::new(jobs, NAMESPACE, name(&made))
    }

    /// Deletes an object as the user.
    fn delete(&self, key: &Key) {
        let options = DeleteOptions {
            propagation: Some("Background".to_owned()),
            ..DeleteOptions::default()
        };
        self.shared().store(|store| {
            if store.get(key).is_some() {
                store.delete(Who::User, key, &options).unwrap();
            }
        });
    }

    fn violations(&self) -> Vec<String> {
        self.shared().lock().judge.violations.clone()
    }
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

fn kinds() -> Vec<&'static dyn Framework> {
    let all = meanings(FRAMEWORKS);
    assert!(all.len() >= 8, "both meanings of MPIJob are among them");
    all
}

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

/// What is written to it can be read by the test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How a key might be written: as it is, each of its lines, and all of it in base64, with any beginning.
fn forms(key: &str) -> Vec<String> {
    let lines: Vec<&str> = key
        .lines()
        .filter(|line| line.len() > 16 && !line.starts_with("---"))
        .collect();
    assert!(lines.len() > 2, "a key has lines");
    let mut forms: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    forms.push(key.to_owned());
    for skipped in 0..3 {
        let encoded = STANDARD.encode(&key.as_bytes()[skipped..]);
        forms.push(encoded[..encoded.len() - 4].to_owned());
    }
    for bytes in lines
        .iter()
        .map(|line| STANDARD.decode(line).unwrap_or_default())
        .filter(|b| b.len() > 16)
    {
        forms.push(
            bytes
                .iter()
                .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")),
        );
        forms.push(format!("{bytes:?}").trim_matches(['[', ']']).to_owned());
    }
    forms
}

/// An MPIJob of v2beta1 from its creation to its end, with refusals, a restart and everything that can be logged.
#[tokio::test(start_paused = true)]
async fn the_private_key_is_in_its_secret_and_nowhere_else() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logs = tracing::subscriber::set_default(lines);
    let framework = kinds()
        .into_iter()
        .find(|f| f.kind().makes.contains(&common::framework::ExtraKind::KeyPair))
        .unwrap();
    let world = World::start(ServiceMode::Job, 3);
    let mut manifest = whole(framework, 2);
    manifest["spec"]["runPolicy"] = json!({"backoffLimit": 3, "cleanPodPolicy": "None"});
    let job = world.create(framework, &manifest);
    seconds(60).await;
    for code in [1, 0] {
        let launcher = |pod: &Value| label(pod, common::names::JOB_ROLE) == Some("launcher");
        for pod in world.shared().list(PODS).iter().filter(|pod| launcher(pod)) {
            let key = Key::new(PODS, NAMESPACE, name(pod));
            world.shared().store(|store| fail(store, &key, code, None));
        }
        seconds(60).await;
    }
    let objects = world.objects();
    assert!(
        sim::value::is_true(&objects[&job], "Succeeded"),
        "{}",
        objects[&job]["status"]
    );
    let secret = Key::new(SECRETS, NAMESPACE, "j-ssh");
    let key = objects[&secret]["stringData"]["ssh-privatekey"].as_str().unwrap();
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(
        log.contains("DEBUG") && log.contains("TRACE"),
        "all levels are logged"
    );
    assert!(log.contains("j-ssh"), "requests about the Secret are logged");
    for form in forms(key) {
        assert!(!log.contains(&form), "the key is in the log as {form}");
        for (other, object) in &objects {
            assert!(
                *other == secret || !object.to_string().contains(&form),
                "{other:?} has the key"
            );
        }
    }
    assert_eq!(*world.reads.lock().unwrap(), [""; 0]);
    println!(
        "{} bytes of logs, {} objects, events among them",
        log.len(),
        objects.len()
    );
}
