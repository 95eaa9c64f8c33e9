//! What the API server writes down of the operator's requests, so that its permissions can be compared with them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::layout::Folder;

/// The service account of the operator that deploy/install.yaml installs.
pub const OPERATOR: &str = "system:serviceaccount:trainyard-system:trainyard-operator";

/// More than a run of the whole suite writes: a log that is begun anew would hide what was used before.
const MEGABYTES: u32 = 2000;

/// Who asked for what, and whether he might: no bodies, and nobody else's requests. Watches are written when they begin,
/// since some never end.
fn policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": true,
        "rules": [
            { "level": "Metadata", "users": [OPERATOR] },
            { "level": "None" },
        ],
    })
}

/// Writes the policy; the API server's flags for it.
pub(crate) fn flags(folder: &Folder) -> Result<[String; 3]> {
    let path = folder.etc().join("audit.json");
    write(&path)?;
    Ok([
        format!("--audit-policy-file={}", path.display()),
        format!("--audit-log-path={}", folder.audit_log().display()),
        format!("--audit-log-maxsize={MEGABYTES}"),
    ])
}

fn write(path: &Path) -> Result<()> {
    fs::write(path, policy().to_string()).with_context(|| format!("cannot write {}", path.display()))
}
