//! What is changed in the schemas of Kubernetes' own types before they become part of ours.

use serde_json::{Value, json};

use super::into_map;

/// Prefix of the names under which Kubernetes' types are defined.
const KUBERNETES: &str = "io.k8s.";

/// A list whose items are told apart by keys, for server-side apply: type, field, keys.
///
/// Only lists in which a pod may not repeat the keys anyway, as a repeated key is refused: so not `env`, where a later
/// entry of the same name overrides an earlier one, nor `imagePullSecrets`, `hostAliases`, `tolerations`.
/// Ports are the exception that upstream's CRDs make too.
const LIST_MAPS: [(&str, &str, &[&str]); 10] = [
    ("core.v1.PodSpec", "containers", &["name"]),
    ("core.v1.PodSpec", "initContainers", &["name"]),
    ("core.v1.PodSpec", "ephemeralContainers", &["name"]),
    ("core.v1.PodSpec", "volumes", &["name"]),
    ("core.v1.PodSpec", "resourceClaims", &["name"]),
    ("core.v1.PodSpec", "schedulingGates", &["name"]),
    (
        "core.v1.PodSpec",
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("core.v1.Container", "ports", &["containerPort", "protocol"]),
    ("core.v1.Container", "volumeMounts", &["mountPath"]),
    ("core.v1.Container", "volumeDevices", &["devicePath"]),
];

/// Metadata that a pod template may carry. The creation time is there for clients written in Go, which send it as
/// null: known, it is dropped in silence; unknown, `kubectl apply` would refuse the template.
const TEMPLATE_METADATA: [&str; 6] = [
    "annotations",
    "creationTimestamp",
    "finalizers",
    "labels",
    "name",
    "namespace",
];

/// As in upstream's CRDs: what Kubernetes' parser of quantities takes.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Changes the definition of a type of Kubernetes; others are left alone.
pub(super) fn adapt(name: &str, definition: &mut Value) {
    let Some(name) = name.strip_prefix(KUBERNETES) else {
        return;
    };
    strip_descriptions(definition);
    let Some(schema) = definition.as_object_mut() else {
        return;
    };
    match name {
        "apimachinery.pkg.api.resource.Quantity" => {
            schema.insert("pattern".to_owned(), QUANTITY.into());
        }
        "apimachinery.pkg.apis.meta.v1.ObjectMeta" => {
            if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
                properties.retain(|field, _| TEMPLATE_METADATA.contains(&field.as_str()));
            }
        }
        "api.core.v1.ContainerPort" => {
            let range = json!({ "minimum": 1, "maximum": 65535 });
            extend(definition, "containerPort", range);
            // A key of the list must have a value.
            extend(definition, "protocol", json!({ "default": "TCP" }));
        }
        _ => {}
    }
    for (_, field, keys) in LIST_MAPS
        .iter()
        .filter(|(of, ..)| name.strip_prefix("api.") == Some(of))
    {
        let list = json!({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys });
        extend(definition, field, list);
    }
}

/// Adds keywords to the schema of a field.
fn extend(definition: &mut Value, field: &str, keywords: Value) {
    let field = definition
        .get_mut("properties")
        .and_then(|p| p.get_mut(field))
        .and_then(Value::as_object_mut);
    if let Some(field) = field {
        field.extend(into_map(keywords));
    }
}

/// Removes every `description` that is text; a field of that name is an object.
fn strip_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, value| key != "description" || !value.is_string());
            map.values_mut().for_each(strip_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_descriptions),
        _ => {}
    }
}
