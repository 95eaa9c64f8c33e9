//! Output of upstream's training-operator as golden data: files with a manifest, and the pods and Services made from it.
//! Each kind checks its own by two functions. Intended differences are removed by name before the comparison.

use std::collections::BTreeMap;

use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{EnvVar, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::World;
use crate::framework::Framework;
use crate::names;
use crate::objects::Child;
use crate::plan::Write;
use crate::problems::{Problems, read as read_value};
use crate::settings::{ServiceMode, Settings};

/// Pods and Services by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    /// Pods.
    pub pods: BTreeMap<String, Pod>,
    /// Services.
    pub services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Vector {
    input: Value,
    // Read in two steps: types of Kubernetes take long to compile for each format that they are read from.
    pods: Value,
    services: Value,
}

/// Reads all vectors of a folder: name of the file, manifest, expected objects.
#[must_use]
#[expect(clippy::expect_used, reason = "a test's own data")]
fn read(folder: &str) -> Vec<(String, Value, Objects)> {
    let files = std::fs::read_dir(folder).expect("a folder of vectors");
    let mut paths: Vec<_> = files.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let vector = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).expect("a vector");
        let Vector {
            input,
            pods,
            services,
        } = serde_saphyr::from_str(&text).expect("a vector");
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let objects = Objects {
            pods: by_name(read_all(&pods)),
            services: by_name(read_all(&services)),
        };
        (name, input, objects)
    };
    paths.iter().map(vector).collect()
}

#[expect(clippy::expect_used, reason = "a test's own data")]
fn read_all<T: DeserializeOwned>(objects: &Value) -> Vec<T> {
    let mut problems = Problems::default();
    read_value(objects, "", &mut problems).expect("objects")
}

fn by_name<T: Metadata<Ty = ObjectMeta>>(objects: Vec<T>) -> BTreeMap<String, T> {
    let name = |object: &T| object.metadata().name.clone().unwrap_or_default();
    objects
        .into_iter()
        .map(|object| (name(&object), object))
        .collect()
}

/// All objects that the first plan for a manifest creates.
///
/// # Panics
/// If it writes anything but new pods and Services.
#[must_use]
#[expect(clippy::panic, reason = "a law of tests")]
pub fn first_plan(framework: &dyn Framework, input: &Value, settings: Settings) -> Objects {
    let mut world = World::new(framework, input);
    world.settings = settings;
    let (mut pods, mut services) = (Vec::new(), Vec::new());
    for write in world.plan(framework).writes {
        match write {
            Write::CreatePod { pod, .. } => pods.push(*pod),
            Write::CreateChild(Child::Service(service)) => services.push(*service),
            // Autoscalers have tests of their own.
            Write::CreateChild(Child::Autoscaler(_)) => {}
            other => panic!("a first plan only creates: {other:?}"),
        }
    }
    Objects {
        pods: by_name(pods),
        services: by_name(services),
    }
}

/// Settings with which pods and Services are those of upstream.
#[must_use]
pub fn upstream_settings() -> Settings {
    Settings {
        service_mode: ServiceMode::PerReplica,
        ..Settings::default()
    }
}

/// Variables of all containers of a pod.
pub fn variables(pod: &mut Pod) -> impl Iterator<Item = &mut EnvVar> {
    let containers = pod.spec.iter_mut().flat_map(|spec| &mut spec.containers);
    containers.flat_map(|container| container.env.iter_mut().flatten())
}

/// Difference "additional variables": removes these from each container.
///
/// # Panics
/// If one is missing.
pub fn take_out(pod: &mut Pod, names: &[&str]) {
    for container in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        let env = container.env.get_or_insert_default();
        for name in names {
            assert!(env.iter().any(|e| e.name == *name), "{name} is not set");
        }
        env.retain(|variable| !names.contains(&variable.name.as_str()));
    }
}

/// Difference "attempt": every pod has a label for its attempt; removes it.
fn take_out_attempt(pod: &mut Pod) {
    let attempt = pod
        .metadata
        .labels
        .as_mut()
        .and_then(|labels| labels.remove(names::ATTEMPT));
    assert_eq!(attempt.as_deref(), Some("0"));
}

fn sort_ports(service: &mut Service) {
    if let Some(ports) = service.spec.as_mut().and_then(|spec| spec.ports.as_mut()) {
        ports.sort_by_key(|port| port.port);
    }
}

/// Checks that with `settings` all objects are those of upstream. `ours` gets the name of the vector, our pod and upstream's,
/// and removes intended differences.
///
/// # Panics
/// If they are not, or if there are not `count` vectors.
pub fn are_upstreams(
    framework: &dyn Framework,
    folder: &str,
    count: usize,
    settings: &Settings,
    ours: impl Fn(&str, &mut Pod, &mut Pod),
) {
    let vectors = read(folder);
    assert_eq!(vectors.len(), count);
    for (name, input, mut expected) in vectors {
        let mut made = first_plan(framework, &input, settings.clone());
        for (pod, upstreams) in made.pods.values_mut().zip(expected.pods.values_mut()) {
            take_out_attempt(pod);
            ours(&name, pod, upstreams);
        }
        assert_eq!(made.pods, expected.pods, "{name}");
        for service in made.services.values_mut() {
            // Difference "addresses before readiness".
            let publish = service
                .spec
                .as_mut()
                .and_then(|spec| spec.publish_not_ready_addresses.take());
            assert_eq!(publish, Some(true));
        }
        made.services.values_mut().for_each(sort_ports);
        expected.services.values_mut().for_each(sort_ports);
        assert_eq!(made.services, expected.services, "{name}");
    }
}

/// Checks the default settings: one Service for the job, and one for each of the few replicas with short names; pods are
/// those of upstream after `ours` has removed intended differences, and all names in their variables resolve.
///
/// # Panics
/// If it is not so.
pub fn resolve_by_default(framework: &dyn Framework, folder: &str, ours: impl Fn(&str, &mut Pod, &mut Pod)) {
    for (name, input, mut expected) in read(folder) {
        let mut made = first_plan(framework, &input, Settings::default());
        let job = input
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let services: Vec<String> = made.services.into_keys().collect();
        assert!(
            services.contains(&job.to_owned()) && services.len() <= 3,
            "{name}: {services:?}"
        );
        for pod in made.pods.values_mut() {
            resolves(pod, job, &services);
        }
        for (pod, upstreams) in made.pods.values_mut().zip(expected.pods.values_mut()) {
            take_out_attempt(pod);
            if let (Some(spec), Some(upstreams)) = (&mut pod.spec, &mut upstreams.spec) {
                assert_eq!(spec.hostname.take(), pod.metadata.name);
                assert_eq!(spec.subdomain.take().as_deref(), Some(job));
                upstreams.init_containers = None; // difference "no init container"
            }
            ours(&name, pod, upstreams);
        }
        assert_eq!(made.pods, expected.pods, "{name}");
    }
}

/// Checks that every host name in the variables belongs to a Service, or is below the name of the job.
fn resolves(pod: &mut Pod, job: &str, services: &[String]) {
    let own = pod.metadata.name.clone().unwrap_or_default();
    for variable in variables(pod) {
        let value = variable.value.as_deref().unwrap_or_default();
        let words = value.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.'));
        for word in words.filter(|word| word.starts_with(&format!("{job}-"))) {
            let (pod, below) = word.split_once('.').unwrap_or((word, ""));
            let known =
                below == job || below.starts_with(&format!("{job}.")) || services.contains(&pod.to_owned());
            assert!(known || word == own, "{}: nothing resolves {word}", variable.name);
        }
    }
}
