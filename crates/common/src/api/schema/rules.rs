//! Rules in the Common Expression Language that the API server checks beside the schema, and that all kinds share.
//!
//! A rule answers with the path of a field and says what is right; where upstream's webhook has the rule, its words
//! come first. `resolve` checks the same again, since objects may be older than the rules.

use serde_json::{Value, json};

use super::value::into_map;
use crate::kind::{KindInfo, RoleInfo};
use crate::names;

/// One rule of `x-kubernetes-validations`.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Expression that must hold. `self` is the value that the rule is attached to.
    pub rule: String,
    /// What is right: text, or with [`Rule::computed`] an expression that yields it.
    pub message: String,
    /// Whether `message` is an expression.
    pub computed: bool,
    /// Field that the answer names, below `self`, such as `.template.spec.containers`; empty for `self`.
    pub field: String,
    /// First words of the answer.
    pub reason: Reason,
}

/// First words of the API server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `Invalid value: ...`
    Invalid,
    /// `Forbidden`
    Forbidden,
    /// `Required value`
    Required,
}

impl Rule {
    /// A rule with a fixed message.
    pub fn new(reason: Reason, field: &str, rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            message: message.into(),
            computed: false,
            field: field.to_owned(),
            reason,
        }
    }

    /// The same rule with a message that is an expression.
    #[must_use]
    pub fn computed(self) -> Self {
        Self {
            computed: true,
            ..self
        }
    }

    fn json(&self) -> Value {
        let reason = match self.reason {
            Reason::Invalid => "FieldValueInvalid",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::Required => "FieldValueRequired",
        };
        let message = if self.computed {
            "messageExpression"
        } else {
            "message"
        };
        let mut json = into_map(json!({ "rule": self.rule, message: self.message, "reason": reason }));
        if !self.field.is_empty() {
            json.insert("fieldPath".to_owned(), self.field.clone().into());
        }
        json.into()
    }
}

/// Attaches rules to a schema.
pub(super) fn add(schema: Value, rules: &[Rule]) -> Value {
    let mut schema = into_map(schema);
    if !rules.is_empty() {
        schema.insert(
            "x-kubernetes-validations".to_owned(),
            rules.iter().map(Rule::json).collect(),
        );
    }
    schema.into()
}

/// `self` is the job: its name becomes part of names of pods and Services, which are host names.
pub(super) fn of_name(info: &KindInfo) -> Vec<Rule> {
    // What the longest child adds to the job's name: "-worker-15". Over the roles and not over the map's keys, whose
    // length has no bound, which makes such a rule too costly for the API server.
    let map = format!("self.spec.{}", info.replicas_field);
    let added = |role: &RoleInfo| {
        if role.only {
            return format!("'{0}' in {map} ? {1} : 0", role.role, role.role.0.len() + 1);
        }
        let (role, fixed) = (role.role.0, role.role.0.len() + 2);
        let replicas = format!("{map}['{role}'].replicas");
        format!(
            "'{role}' in {map} ? {fixed} + size(string(has({replicas}) && {replicas} > 0 ? {replicas} - 1 : 0)) : 0"
        )
    };
    let added: Vec<String> = info.roles.iter().map(added).collect();
    let added = format!("[{}].max()", added.join(", "));
    let max = names::MAX_LABEL;
    vec![
        Rule::new(
            Reason::Invalid,
            ".metadata.name",
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "should match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
             alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used \
             for validation is '[a-z]([-a-z0-9]*[a-z0-9])?'): it becomes the name of a Service",
        ),
        Rule::new(
            Reason::Invalid,
            ".metadata.name",
            format!("size(self.metadata.name) + {added} <= {max}"),
            format!(
                // format(), since the API server takes the cost of string() + string to be without bound.
                "'must be no more than %d characters with these replicas: the names of its pods and \
                 Services add \"-<replica type>-<index>\" to it and must be no more than {max} characters'\
                 .format([{max} - {added}])"
            ),
        )
        .computed(),
    ]
}

/// `self` is the map of replicas.
pub(super) fn of_replica_map(info: &KindInfo) -> Vec<Rule> {
    let quoted: Vec<String> = info.roles.iter().map(|r| format!("\"{}\"", r.role)).collect();
    let lower: Vec<String> = info
        .roles
        .iter()
        .map(|r| format!("'{}'", r.role.lower()))
        .collect();
    let known = format!("r.lowerAscii() in [{}]", lower.join(", "));
    vec![
        Rule::new(
            Reason::Required,
            "",
            "size(self) > 0",
            format!(
                "must be specified, with at least one replica type of {}",
                quoted.join(", ")
            ),
        ),
        Rule::new(
            Reason::Forbidden,
            "",
            format!("self.all(r, {known})"),
            format!(
                "'unsupported replica type \"' + self.filter(r, !({known}))[0] + '\": supported values: {}'",
                quoted.join(", ")
            ),
        )
        .computed(),
        Rule::new(
            Reason::Invalid,
            "",
            "size(self) == 0 || self.exists(r, !has(self[r].replicas) || self[r].replicas > 0)",
            "must have at least one replica: all replica types have replicas 0",
        ),
    ]
}

/// `self` is `spec`: how many replicas a role may have.
pub(super) fn of_roles(info: &KindInfo) -> Vec<Rule> {
    let map = info.replicas_field;
    let required = |info: &RoleInfo| {
        let role = info.role;
        (info.min_replicas > 0).then(|| {
            Rule::new(
                Reason::Required,
                &format!(".{map}.{role}"),
                format!("self.{map}.exists(r, r.lowerAscii() == '{}')", role.lower()),
                "must be specified",
            )
        })
    };
    let limit = |info: &RoleInfo| {
        let (role, max) = (info.role, info.max_replicas?);
        let (test, message) = match max {
            1 => ("== 1".to_owned(), "must be 1".to_owned()),
            _ => (format!("<= {max}"), format!("must be no more than {max}")),
        };
        let replicas = format!("self.{map}['{role}'].replicas");
        let holds = format!("!('{role}' in self.{map}) || !has({replicas}) || {replicas} {test}");
        Some(Rule::new(
            Reason::Forbidden,
            &format!(".{map}.{role}.replicas"),
            holds,
            message,
        ))
    };
    let roles = info.roles.iter();
    roles
        .flat_map(|role| [required(role), limit(role)])
        .flatten()
        .collect()
}

/// `self` is one role's replicas. A role without pods need not say what they look like.
pub(super) fn of_replica(info: &KindInfo) -> Vec<Rule> {
    let containers = "self.template.spec.containers";
    let given = "has(self.template) && has(self.template.spec)";
    let some = |message: String| {
        Rule::new(
            Reason::Required,
            ".template.spec.containers",
            format!("({given} && size({containers}) > 0) || (has(self.replicas) && self.replicas == 0)"),
            message,
        )
    };
    let Some(container) = info.container else {
        return vec![some("must be specified, with at least one container".to_owned())];
    };
    vec![
        some(format!("must be specified, with one container named {container}")),
        Rule::new(
            Reason::Required,
            ".template.spec.containers",
            format!(
                "!({given}) || size({containers}) == 0 || {containers}.exists(c, c.name == '{container}')"
            ),
            format!(
                "must have at least one container with name {container}: the one whose exit code is the pod's"
            ),
        ),
    ]
}

/// `self` is one container of a template.
pub(super) fn of_container() -> Vec<Rule> {
    vec![Rule::new(
        Reason::Required,
        ".image",
        "has(self.image) && self.image != ''",
        "must be required",
    )]
}

/// `self` is the run policy.
pub(super) fn of_run_policy() -> Vec<Rule> {
    // Pods of either scope have another restart policy of their own, which cannot be changed.
    let fixed = |field: &str| {
        let holds = format!(
            "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
        );
        Rule::new(Reason::Invalid, &format!(".{field}"), holds, "field is immutable")
    };
    vec![fixed("managedBy"), fixed("restartScope")]
}

/// `self` is the queue's name. It may be set later and removed, as upstream allows.
pub(super) fn of_queue() -> Vec<Rule> {
    let message = "spec.runPolicy.schedulingPolicy.queue is immutable";
    vec![Rule::new(Reason::Invalid, "", "self == oldSelf", message)]
}
