//! Names of jobs at the limit of what the names of their pods and Services allow, for every meaning of every kind: either
//! all that is made of a job can be named, or the schema's rules and the job's status say that it cannot.

use common::conditions;
use std::collections::BTreeSet;

use common::api::ConditionType;
use common::gang::Gang;
use common::kind::RoleInfo;
use common::names::{MAX_LABEL, ReplicaIndex};
use common::plan::Write;
use common::settings::ServiceMode;
use common::testing::{World, whole};
use common::{Framework, Settings};
use kube_cel::{CompiledSchema, Validator, compile_schema};
use operator::FRAMEWORKS;
use serde_json::{Value, json};

/// What stands under these keys is for programs: no name of an object, and as long as it likes.
const CONTENTS: [&str; 5] = ["env", "command", "args", "data", "stringData"];

/// A meaning of a kind, beside the kind as the registry has it, whose schema it shares.
type Meaning = (&'static dyn Framework, &'static dyn Framework);

fn meanings() -> Vec<Meaning> {
    let of = |kind: &&'static dyn Framework| {
        let all = common::testing::meanings(&[*kind]);
        all.into_iter()
            .map(|meaning| (*kind, meaning))
            .collect::<Vec<_>>()
    };
    FRAMEWORKS.iter().flat_map(of).collect()
}

/// A job of the kind with so many replicas of one role, and no more of the others than need be.
fn job(framework: &dyn Framework, role: &RoleInfo, replicas: u32, name: &str) -> Value {
    let info = framework.kind();
    let mut job = whole(framework, 1);
    job["metadata"]["name"] = json!(name);
    let roles = job["spec"][info.replicas_field].as_object_mut().unwrap();
    let mut own = roles.values().next().unwrap().clone();
    own["replicas"] = json!(replicas);
    // Chief and Master are two names of one role.
    if role.role.0 == "Master" {
        roles.remove("Chief");
    }
    roles.insert(role.role.0.to_owned(), own);
    job
}

/// The longest name that such a job may have, reckoned here once more.
fn longest(framework: &dyn Framework, job: &Value) -> usize {
    let info = framework.kind();
    let roles = job["spec"][info.replicas_field].as_object().unwrap();
    let added = roles.iter().map(|(role, spec)| {
        let last = u32::try_from(spec["replicas"].as_u64().unwrap()).unwrap() - 1;
        info.role(role)
            .unwrap()
            .replica_name("", ReplicaIndex(last))
            .len()
    });
    MAX_LABEL - added.max().unwrap()
}

/// The rules of a kind, one schema for each version.
fn schemas(kind: &dyn Framework) -> Vec<CompiledSchema> {
    let crd = serde_json::to_value(kind.crd()).unwrap();
    let versions = crd["spec"]["versions"].as_array().unwrap().iter();
    versions
        .map(|version| compile_schema(&version["schema"]["openAPIV3Schema"]))
        .collect()
}

/// What the API server says to such a job, in all versions alike.
fn answer(schemas: &[CompiledSchema], job: &Value) -> Vec<String> {
    let mut answers = schemas.iter().map(|schema| {
        let errors = Validator::new().validate_compiled(schema, job, None).err();
        let errors = errors.iter().flat_map(kube_cel::ValidationErrors::as_slice);
        errors
            .map(|e| format!("{}: {}", e.field_path.trim_start_matches('.'), e.message))
            .collect::<Vec<_>>()
    });
    let first = answers.next().unwrap();
    assert!(answers.all(|other| other == first), "versions differ");
    first
}

/// Operators that name things in different ways.
fn settings() -> Vec<Settings> {
    let scheduler = "scheduler-plugins".to_owned();
    let gangs = [
        Gang::None,
        Gang::Native,
        Gang::Volcano,
        Gang::Coscheduling { scheduler },
    ];
    let modes = [
        ServiceMode::Job,
        ServiceMode::PerReplica,
        ServiceMode::Job,
        ServiceMode::PerReplica,
    ];
    let both = gangs.into_iter().zip(modes);
    both.map(|(gang, service_mode)| Settings {
        gang,
        service_mode,
        ..Settings::default()
    })
    .collect()
}

/// Names of all that is made of a job, or what its status says instead.
fn made(
    framework: &'static dyn Framework,
    job: &Value,
    settings: &Settings,
) -> Result<BTreeSet<String>, String> {
    let name = job["metadata"]["name"].as_str().unwrap();
    let mut world = World::new(framework, job);
    world.settings = settings.clone();
    let mut names = BTreeSet::new();
    // A launcher may wait for its workers.
    for _ in 0..2 {
        for plan in world.settle(framework) {
            for object in plan.writes.iter().filter_map(object) {
                names.insert(object["metadata"]["name"].as_str().unwrap().to_owned());
                check(name, "", &object);
            }
        }
        world.run_all();
    }
    let stored = world.status();
    if conditions::is_true(&stored, ConditionType::Failed) {
        assert!(
            names.is_empty(),
            "{name} is refused when there is something already: {names:?}"
        );
        let messages: Vec<&str> = stored
            .conditions
            .iter()
            .filter_map(|c| c.message.as_deref())
            .collect();
        return Err(messages.join(" "));
    }
    for selector in stored
        .replica_statuses
        .values()
        .filter_map(|role| role.selector.as_ref())
    {
        for (_, value) in selector.split(',').filter_map(|part| part.split_once('=')) {
            assert!(is_label_value(value), "{name}: {selector}");
        }
    }
    Ok(names)
}

/// What a write makes.
fn object(write: &Write) -> Option<Value> {
    let object = match write {
        Write::CreatePod { pod, .. } => serde_json::to_value(pod),
        Write::CreateBatchJob { job, .. } => serde_json::to_value(job),
        Write::CreateChild(child) => serde_json::to_value(child),
        Write::Ensure(extra) => serde_json::to_value(extra),
        _ => return None,
    };
    Some(object.unwrap())
}

/// All names in an object are names, and all values of its labels such.
fn check(job: &str, path: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| !CONTENTS.contains(&&***key)) {
                let path = format!("{path}.{key}");
                match value {
                    Value::String(text)
                        if [".labels.", ".matchLabels.", ".selector."]
                            .iter()
                            .any(|of| path.contains(of)) =>
                    {
                        assert!(is_label_value(text), "{job}: {path}: {text}");
                    }
                    Value::String(text) if ["hostname", "subdomain"].contains(&&**key) => {
                        assert!(is_name(text), "{job}: {path}: {text}");
                    }
                    value => check(job, &path, value),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                check(job, path, item);
            }
        }
        // Names of its own objects, wherever they are named, and domains.
        Value::String(text) if text.starts_with(job) => {
            assert!(
                text.len() <= 253 && text.split('.').all(is_name),
                "{job}: {path}: {text}"
            );
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A label of RFC 1035, as names of Services must be.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= MAX_LABEL
        && name.chars().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// What the value of a label may be.
fn is_label_value(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    value.is_empty()
        || value.len() <= 63
            && value.chars().all(plain)
            && value.starts_with(|c: char| c.is_ascii_alphanumeric())
            && value.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// The API server's own way (`k8s.io/apiserver/pkg/storage/names`).
fn generated(prefix: &str) -> String {
    format!("{}x7k2q", &prefix[..prefix.len().min(58)])
}

/// Pods or Services were refused after the job had been accepted (trainer#1101, trainer#1745, jobset#1267, kueue#13636).
#[test]
fn a_job_is_accepted_whose_pods_and_services_cannot_be_named() {
    for (kind, framework) in meanings() {
        let schemas = schemas(kind);
        for role in framework.kind().roles {
            // Indices of one digit and of two, where the role may have so many.
            let counts = [10, 100].map(|count| role.max_replicas.map_or(count, |most| most.min(count)));
            for replicas in BTreeSet::from(counts) {
                let max = longest(framework, &job(framework, role, replicas, "j"));
                let named = |length: usize| job(framework, role, replicas, &"a".repeat(length));
                let case = format!("{} {} {replicas}", framework.kind().kind, role.role);
                for length in [max - 1, max] {
                    assert_eq!(answer(&schemas, &named(length)), [""; 0], "{case} {length}");
                }
                made(framework, &named(max - 1), &Settings::default()).expect(&case);
                // More pods have the same names, and take long.
                let all = settings().into_iter().take(if replicas < 100 { 4 } else { 1 });
                let found: BTreeSet<String> = all
                    .flat_map(|settings| made(framework, &named(max), &settings).expect(&case))
                    .collect();
                // No shorter than it need be.
                let most = found.iter().map(String::len).max();
                assert_eq!(most, Some(MAX_LABEL), "{case}: {found:?}");

                let answer = answer(&schemas, &named(max + 1));
                let limit = format!("metadata.name: must be no more than {max} characters ");
                assert!(
                    answer.len() == 1 && answer[0].starts_with(&limit),
                    "{case}: {answer:?}"
                );
                let told = made(framework, &named(max + 1), &Settings::default()).expect_err(&case);
                let limit = format!("may have at most {max}");
                assert!(
                    told.contains("metadata.name") && told.contains(&limit),
                    "{case}: {told}"
                );
            }
        }
    }
}

/// The same with names that are none, or that the API server has made up.
#[test]
fn a_job_is_accepted_whose_name_is_no_label() {
    for (kind, framework) in meanings() {
        let schemas = schemas(kind);
        let role = framework.kind().roles.last().unwrap();
        let max = longest(framework, &job(framework, role, 10, "j"));
        let long = "a".repeat(90);
        let good = [generated("train-"), generated("a"), generated(&long[..max - 5])];
        for name in &good {
            let job = job(framework, role, 10, name);
            assert_eq!(answer(&schemas, &job), [""; 0], "{name}");
            let names = made(framework, &job, &Settings::default()).expect(name);
            assert!(names.len() > 1, "{name}: {names:?}");
        }
        let bad = [
            "1abc".to_owned(),
            "a.b".to_owned(),
            generated("1-"),
            generated("a.b-"),
            generated(&long[..max - 4]),
            generated(&long),
        ];
        for name in &bad {
            let job = job(framework, role, 10, name);
            let answer = answer(&schemas, &job);
            assert!(
                answer.iter().any(|a| a.starts_with("metadata.name: ")),
                "{name}: {answer:?}"
            );
            let told = made(framework, &job, &Settings::default()).expect_err(name);
            assert!(told.contains("metadata.name"), "{name}: {told}");
        }
    }
}

/// The schema's rule knows roles by their own names only, and none of jobs that are older than it: those are told by
/// their status.
#[test]
fn a_role_in_lower_case_is_no_way_round_the_limit() {
    for (_, framework) in meanings() {
        let info = framework.kind();
        let role = info.roles.last().unwrap();
        let max = longest(framework, &job(framework, role, 100, "j"));
        for length in [max, max + 1] {
            let mut job = job(framework, role, 100, &"a".repeat(length));
            let roles = job["spec"][info.replicas_field].as_object_mut().unwrap();
            let own = roles.remove(role.role.0).unwrap();
            roles.insert(role.role.lower(), own);
            let made = made(framework, &job, &Settings::default());
            assert_eq!(made.is_ok(), length == max, "{} {length}: {made:?}", info.kind);
            if let Err(told) = made {
                assert!(told.contains("metadata.name"), "{told}");
            }
        }
    }
}
