//! The CRD of any kind: schema, rules, subresources, columns.
//!
//! A kind gives its [`KindInfo`], the type of its own fields of `spec` and the rules about these; the rest is common.
//! The pod template is there in full, so that `kubectl explain` works and a user's slip is refused at the door, but
//! without Kubernetes' own descriptions: with them one CRD is too large for plain `kubectl apply`.

mod kubernetes;
mod rules;
mod structural;
mod value;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresourceScale,
    CustomResourceSubresourceStatus, CustomResourceSubresources, CustomResourceValidation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{JobStatus, ReplicaSpec, RunPolicy};
use crate::kind::KindInfo;
use crate::names;
pub use rules::{Reason, Rule};
use value::{into_map, set};

/// Category of all kinds: `kubectl get training`.
pub const CATEGORY: &str = "training";

/// Longest list of containers in a template. The API server refuses rules over lists without a bound.
const MAX_CONTAINERS: u32 = 64;
/// Longest name of a container, as for any pod.
const MAX_CONTAINER_NAME: u32 = 63;

/// The own fields of a kind that has none.
#[derive(Debug, JsonSchema)]
pub struct NoFields {}

/// Builds the CRD of a kind. `Fields` describes the fields of `spec` that only this kind has, `rules` are about them:
/// their `self` is `spec`.
///
/// Invariant: the schema is a constant of the program, so a mistake in it shows in the tests here, in the generated
/// files and at the API server, never at run time.
#[must_use]
pub fn crd<Fields: JsonSchema>(
    info: &KindInfo,
    short_name: &str,
    about: &str,
    rules: &[Rule],
) -> CustomResourceDefinition {
    let schema = json!({ "openAPIV3Schema": root::<Fields>(info, about, rules) });
    let version = CustomResourceDefinitionVersion {
        name: info.version.to_owned(),
        served: true,
        storage: true,
        schema: serde_json::from_value::<CustomResourceValidation>(schema).ok(),
        subresources: Some(subresources(info)),
        additional_printer_columns: Some(columns()),
        ..CustomResourceDefinitionVersion::default()
    };
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", info.plural, info.group)),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: info.group.to_owned(),
            names: CustomResourceDefinitionNames {
                kind: info.kind.to_owned(),
                list_kind: Some(format!("{}List", info.kind)),
                plural: info.plural.to_owned(),
                singular: Some(info.kind.to_ascii_lowercase()),
                short_names: Some(vec![short_name.to_owned()]),
                categories: Some(vec![CATEGORY.to_owned()]),
            },
            scope: "Namespaced".to_owned(),
            versions: vec![version],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

fn subresources(info: &KindInfo) -> CustomResourceSubresources {
    CustomResourceSubresources {
        status: Some(CustomResourceSubresourceStatus(json!({}))),
        scale: info.scaled_role.map(|role| CustomResourceSubresourceScale {
            spec_replicas_path: format!(".spec.{}.{role}.replicas", info.replicas_field),
            status_replicas_path: format!(".status.replicaStatuses.{role}.active"),
            label_selector_path: Some(format!(".status.replicaStatuses.{role}.selector")),
        }),
    }
}

/// Upstream's columns. The state is the type of the last condition, whatever its status.
fn columns() -> Vec<CustomResourceColumnDefinition> {
    let column = |name: &str, type_: &str, path: &str| CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: path.to_owned(),
        ..CustomResourceColumnDefinition::default()
    };
    vec![
        column("State", "string", ".status.conditions[-1:].type"),
        column("Age", "date", ".metadata.creationTimestamp"),
    ]
}

fn root<Fields: JsonSchema>(info: &KindInfo, about: &str, rules: &[Rule]) -> Value {
    let schema = json!({
        "type": "object",
        "description": about,
        "required": ["spec"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            // Without a bound on the name the API server holds the rules about it for too costly. A bound of 63 would
            // be answered by the server before our rule, which knows the true limit, is asked.
            "metadata": { "type": "object", "properties": { "name": { "type": "string", "maxLength": 253 } } },
            "spec": spec::<Fields>(info, rules),
            "status": structural::of::<JobStatus>(),
        },
    });
    rules::add(schema, &rules::of_name(info))
}

fn spec<Fields: JsonSchema>(info: &KindInfo, rules: &[Rule]) -> Value {
    let mut schema = structural::of::<Fields>();
    // There are none of a kind that has no fields of its own.
    let properties = schema.get_mut("properties").map(Value::take);
    let mut properties = into_map(properties.unwrap_or_default());
    properties.insert("runPolicy".to_owned(), run_policy(info));
    properties.insert("successPolicy".to_owned(), success_policy(info));
    properties.insert(info.replicas_field.to_owned(), replica_map(info));
    set(&mut schema, "", json!({ "properties": properties }));
    set(
        &mut schema,
        "",
        json!({ "required": [info.replicas_field], "description": "What is to run." }),
    );
    rules::add(schema, &[rules::of_roles(info), rules.to_vec()].concat())
}

/// One entry per role. A map, not an object with a field per role: a misspelt role is refused with the right spelling
/// instead of being pruned.
fn replica_map(info: &KindInfo) -> Value {
    let roles: Vec<&str> = info.roles.iter().map(|r| r.role.0).collect();
    let schema = json!({
        "type": "object",
        "description": format!("Replicas by type: {}.", roles.join(", ")),
        "maxProperties": 2 * info.roles.len(), // room for misspelt ones, which a rule names
        "additionalProperties": replica(info),
    });
    rules::add(schema, &rules::of_replica_map(info))
}

fn replica(info: &KindInfo) -> Value {
    let mut schema = structural::of::<ReplicaSpec>();
    let pod = "/properties/template/properties/spec/properties";
    set(
        &mut schema,
        &format!("{pod}/containers"),
        json!({ "maxItems": MAX_CONTAINERS }),
    );
    let container = format!("{pod}/containers/items");
    set(
        &mut schema,
        &format!("{container}/properties/name"),
        json!({ "maxLength": MAX_CONTAINER_NAME }),
    );
    if let Some(item) = schema.pointer_mut(&container) {
        *item = rules::add(item.take(), &rules::of_container());
    }
    rules::add(schema, &rules::of_replica(info))
}

fn success_policy(info: &KindInfo) -> Value {
    let values: Vec<&str> = info
        .success_policies
        .iter()
        .map(|policy| policy.as_str())
        .collect();
    let description = format!("When the job has succeeded. \"\": {}.", info.success);
    json!({ "type": "string", "enum": values, "description": description })
}

fn run_policy(info: &KindInfo) -> Value {
    let mut schema = structural::of::<RunPolicy>();
    // Clients of upstream take it for granted (its Python SDK raises on a job without it).
    set(&mut schema, "", json!({ "default": {} }));
    set(&mut schema, "/properties/suspend", json!({ "default": false }));
    let managers = [info.managers, &[names::MANAGED_BY_MULTIKUEUE]].concat();
    set(&mut schema, "/properties/managedBy", json!({ "enum": managers }));
    let queue = "/properties/schedulingPolicy/properties/queue";
    if let Some(queue) = schema.pointer_mut(queue) {
        *queue = rules::add(queue.take(), &rules::of_queue());
    }
    rules::add(schema, &rules::of_run_policy())
}
