//! Gang scheduling: the PodGroup of the pods that must be placed together, and the conditions under which these pods
//! may be created.
//!
//! Invariant: the PodGroup never asks for more pods than exist or are being created now, so that no pod waits for one
//! that waits for it. These replicas are not counted:
//!
//! * a launcher that waits for its workers
//! * a replica that has succeeded
//! * a replica whose restart is not due yet

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

use crate::build::pod_group::{self, Terms, unstated};
use crate::gang::{Gang, Placement, PodGroup, PodGroupApi, PodGroupView};
use crate::job::ResolvedRole;
use crate::names::{self, ReplicaId, Role};
use crate::objects::{Child, ChildKind};
use crate::observe::{ChildView, Phase};
use crate::plan::{Event, Write};
use crate::replica_states::{ReplicaPhase, ReplicaState};

use super::context::{Context, warning};
use super::explanation::Explanation;
use super::stored;

/// Upstream's message (`pkg/controller.v1/common/pod.go`).
const OTHER_SCHEDULER: &str =
    "Another scheduler is specified when gang-scheduling is enabled and it will not be overwritten";

/// Decision about a gang.
#[derive(Default)]
pub(crate) struct GangPlan {
    /// Writes of the PodGroup.
    pub(crate) writes: Vec<Write>,
    /// Reason why no pod may be created now.
    pub(crate) hold: Option<String>,
    /// True if the job waits in a queue, so that it has not started.
    pub(crate) queued: bool,
    /// Reason and message if its scheduler cannot place the gang.
    pub(crate) unschedulable: Option<Explanation>,
    /// True if a result of its scheduler for the whole gang is still to come. It replaces the reports of the pods.
    pub(crate) speaks_for_pods: bool,
}

/// Pods of a gang.
pub(crate) struct Members {
    roles: Vec<Role>,
    class: Option<String>,
}

/// Decision about the gang before the replicas in `wanted` are created. The replicas in `waiting` will be created when
/// others are ready.
pub(crate) fn plan(ctx: &Context<'_>, wanted: &[&ReplicaState], waiting: &[ReplicaId]) -> GangPlan {
    let (Some(api), Some(members)) = (ctx.settings.gang.api(), members(ctx)) else {
        return GangPlan::default();
    };
    let all = || ctx.states.replicas.iter().filter(|replica| members.has(replica));
    let live = || all().filter(|replica| is_live(replica, api));
    let made = || wanted.iter().copied().filter(|replica| members.has(replica));
    let unscheduled = live().any(|replica| replica.pod.as_ref().is_none_or(|pod| pod.node.is_none()));
    let (making, alive) = (made().next().is_some(), live().next().is_some());
    let begun = live().any(|replica| replica.pod.as_ref().is_some_and(|pod| pod.node.is_some()));
    if !making && !unscheduled {
        return GangPlan::default();
    }
    let stated = ctx.job.policy.scheduling.min_available;
    let stated = stated
        .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(0))
        .max(1);
    let begins = all().filter(|replica| is_to_begin(replica) && !waiting.contains(&replica.id()));
    let least = stated.min(begins.count().saturating_add(live().count()));
    // The minimum of an unplaced gang is not lowered because one of its pods is late.
    if !begun && live().count().saturating_add(made().count()) < least {
        return GangPlan::hold(format!(
            "the gang begins when {least} of its pods can be made together"
        ));
    }
    let mut counted: Vec<&ReplicaState> = live().chain(made()).collect();
    let min = stated.min(counted.len()).max(1);
    counted.sort_by_key(|replica| {
        (
            std::cmp::Reverse(priority(ctx, replica.role())),
            replica.replica.rank,
        )
    });
    let terms = Terms {
        api,
        min: u32::try_from(min).unwrap_or(u32::MAX),
        class: class(ctx, api, &members),
        pods: counted.iter().map(|replica| replica.role()).collect(),
    };
    match stored(ctx, api) {
        None => create(ctx, &terms, alive),
        // Existing pods would keep the PodGroup in use, and new ones can still belong to it.
        Some(group) if group.deleting && !alive => {
            GangPlan::hold(format!("PodGroup {} has to terminate first", group.name))
        }
        Some(group) => GangPlan {
            writes: if begun && asks_for_no_more(group, &terms) {
                Vec::new()
            } else {
                patch(ctx, group, &terms).into_iter().collect()
            },
            ..read(group, alive)
        },
    }
}

impl GangPlan {
    fn hold(why: String) -> Self {
        Self {
            hold: Some(why),
            ..Self::default()
        }
    }
}

impl Members {
    pub(crate) fn has(&self, replica: &ReplicaState) -> bool {
        self.roles.contains(&replica.role())
    }
}

fn create(ctx: &Context<'_>, terms: &Terms, alive: bool) -> GangPlan {
    let group = pod_group::pod_group(ctx.job, &ctx.observed.job.annotations, terms);
    let name = names::pod_group(&ctx.job.key.name);
    let queued = terms.api == PodGroupApi::Volcano && !alive;
    GangPlan {
        writes: vec![Write::CreateChild(Child::PodGroup(Box::new(group)))],
        hold: queued.then(|| format!("PodGroup {name} waits to be admitted by Volcano")),
        queued,
        speaks_for_pods: terms.api == PodGroupApi::Native,
        ..GangPlan::default()
    }
}

/// True if a PodGroup allows the existing pods to be placed. After a part of the gang has been placed, nothing more is
/// needed. A higher minimum would make Volcano queue the gang again, although a part of it is placed.
fn asks_for_no_more(group: &ChildView, terms: &Terms) -> bool {
    let spec = group.pod_group.as_deref().map(|view| &view.spec);
    let asked = spec.and_then(|spec| match terms.api {
        PodGroupApi::Native => spec.pointer("/schedulingPolicy/gang/minCount"),
        PodGroupApi::Volcano | PodGroupApi::Coscheduling => spec.get("minMember"),
    });
    let asked = asked.and_then(Value::as_u64);
    asked.is_some_and(|asked| asked <= u64::from(terms.min))
}

/// Write that brings an existing PodGroup up to date.
fn patch(ctx: &Context<'_>, group: &ChildView, terms: &Terms) -> Option<Write> {
    let stored = &group.pod_group.as_deref()?.spec;
    let mut wanted = pod_group::spec(ctx.job, &ctx.observed.job.annotations, terms);
    leave_alone(&mut wanted, stored, terms.api);
    let metadata = ObjectMeta {
        name: Some(group.name.to_string()),
        ..ObjectMeta::default()
    };
    let to = PodGroup {
        api: terms.api,
        metadata,
        spec: changes(stored, &wanted)?,
    };
    Some(Write::ChangeChild {
        to: Child::PodGroup(Box::new(to)),
        uid: group.uid.clone(),
    })
}

/// State of the gang according to its PodGroup.
fn read(group: &ChildView, alive: bool) -> GangPlan {
    let none = PodGroupView::default();
    let view = group.pod_group.as_deref().unwrap_or(&none);
    let of = |api| group.kind == ChildKind::PodGroup(api);
    let pending = matches!(view.phase.as_deref(), None | Some("" | "Pending"));
    let queued = of(PodGroupApi::Volcano) && pending && !alive;
    let unschedulable = match &view.placement {
        Placement::Unschedulable { reason, message } => Some(Explanation {
            reason: reason.to_string(),
            message: message.to_string(),
        }),
        Placement::Unknown | Placement::Found => None,
    };
    let in_queue = || match view.spec.get("queue").and_then(Value::as_str) {
        Some(queue) if !queue.is_empty() => format!("PodGroup {} waits in queue {queue}", group.name),
        _ => format!("PodGroup {} waits to be admitted by Volcano", group.name),
    };
    GangPlan {
        hold: queued.then(in_queue),
        queued,
        unschedulable,
        speaks_for_pods: of(PodGroupApi::Native) && view.placement == Placement::Unknown,
        ..GangPlan::default()
    }
}

/// Removes fields that are never changed: the queue, because administrators move jobs between queues, and fields that
/// the API makes immutable.
fn leave_alone(wanted: &mut Value, stored: &Value, api: PodGroupApi) {
    let has_queue = !unstated(stored.get("queue").and_then(Value::as_str));
    let field = match api {
        PodGroupApi::Native => Some("priorityClassName"),
        PodGroupApi::Volcano => Some("queue").filter(|_| has_queue),
        PodGroupApi::Coscheduling => None,
    };
    if let (Some(field), Some(wanted)) = (field, wanted.as_object_mut()) {
        wanted.remove(field);
    }
}

/// Merge patch that sets all wanted fields in `stored` and keeps all others. Resources are compared as a whole: one
/// that is no longer wanted is removed.
fn changes(stored: &Value, wanted: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (stored, wanted) else {
        return (stored != wanted).then(|| wanted.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new {
        let before = old.get(key).unwrap_or(&Value::Null);
        let Some(mut change) =
            changes(before, value).or_else(|| (before != value).then(|| Value::Object(Map::new())))
        else {
            continue;
        };
        if key == "minResources"
            && let (Value::Object(change), Value::Object(before)) = (&mut change, before)
        {
            let gone = before.keys().filter(|name| value.get(*name).is_none());
            change.extend(gone.map(|name| (name.clone(), Value::Null)));
        }
        if change != Value::Object(Map::new()) {
            patch.insert(key.clone(), change);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn stored<'a>(ctx: &'a Context<'_>, api: PodGroupApi) -> Option<&'a ChildView> {
    let name = names::pod_group(&ctx.job.key.name);
    let is = |child: &ChildView| child.kind == ChildKind::PodGroup(api) && *child.name == *name;
    ctx.observed.children.iter().map(|c| &**c).find(|child| is(child))
}

/// True if the gang has a pod of this replica that its scheduler counts. (Pods from before the gang existed are not
/// counted.)
fn is_live(replica: &ReplicaState, api: PodGroupApi) -> bool {
    match replica.phase {
        ReplicaPhase::Pending | ReplicaPhase::Running => match &replica.pod {
            Some(pod) => {
                let ended = matches!(pod.phase, Phase::Succeeded | Phase::Failed);
                pod.gang == Some(api) && !pod.deleting && !ended
            }
            // Its batch Job will create the first pod in a moment, but later ones only after growing pauses.
            None => replica.batch_job.as_ref().is_some_and(|job| job.failed == 0),
        },
        ReplicaPhase::NotCreated
        | ReplicaPhase::Disappeared
        | ReplicaPhase::Outdated
        | ReplicaPhase::Terminating
        | ReplicaPhase::Succeeded
        | ReplicaPhase::Failed(_) => false,
    }
}

/// True if a pod will be created for the replica, sooner or later.
fn is_to_begin(replica: &ReplicaState) -> bool {
    match replica.phase {
        ReplicaPhase::NotCreated
        | ReplicaPhase::Disappeared
        | ReplicaPhase::Outdated
        | ReplicaPhase::Terminating => true,
        ReplicaPhase::Pending | ReplicaPhase::Running | ReplicaPhase::Succeeded | ReplicaPhase::Failed(_) => {
            false
        }
    }
}

/// Value of the priority class in the template of a role.
fn priority(ctx: &Context<'_>, role: Role) -> i32 {
    let class = ctx.job.role(role).and_then(own_class);
    class
        .and_then(|class| ctx.observed.priorities.get(class).copied())
        .unwrap_or(0)
}

/// Priority class of the PodGroup.
fn class(ctx: &Context<'_>, api: PodGroupApi, members: &Members) -> Option<String> {
    let policy = ctx.job.policy.scheduling.priority_class.as_deref();
    match api {
        PodGroupApi::Native => members.class.clone(),
        PodGroupApi::Volcano => stated(policy).or_else(|| {
            let first = ctx.job.roles.iter().find_map(own_class);
            first
                .filter(|_| ctx.job.info.gang.class_of_template)
                .map(str::to_owned)
        }),
        PodGroupApi::Coscheduling => None,
    }
}

/// Members of the gang. A gang has one scheduler and, in Kubernetes' own API, one priority. Pods with another value are
/// left out, because the whole gang would otherwise wait for them forever. `None` if there is no gang.
pub(crate) fn members(ctx: &Context<'_>) -> Option<Members> {
    let api = ctx.settings.gang.api()?;
    let roles: Vec<&ResolvedRole> = ctx.job.roles.iter().filter(|r| r.count > 0).collect();
    let (_, mut roles) = agreed(roles, Some(ctx.settings.gang.scheduler()), own_scheduler);
    let mut class = None;
    if api == PodGroupApi::Native {
        roles.retain(|r| spec_of(r).is_none_or(|spec| spec.scheduling_group.is_none()));
        let stated = |text: Option<&str>| text.filter(|class| !class.is_empty()).map(str::to_owned);
        // A PodGroup keeps the priority that it was created with.
        if let Some(group) = stored(ctx, api).filter(|group| !group.deleting) {
            let spec = group.pod_group.as_deref().map(|view| &view.spec);
            class = stated(spec.and_then(|spec| spec.get("priorityClassName")?.as_str()));
            roles.retain(|r| own_class(r).is_none_or(|own| Some(own) == class.as_deref()));
        } else {
            let policy = stated(ctx.job.policy.scheduling.priority_class.as_deref());
            (class, roles) = agreed(roles, policy.as_deref(), own_class);
        }
    }
    let roles: Vec<Role> = roles.into_iter().map(|r| r.role).collect();
    (!roles.is_empty()).then_some(Members { roles, class })
}

fn stated(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Common value of the pods of a gang, and the roles that are compatible with it. This is the proposed value if it fits
/// any role, else the first value in a template.
fn agreed<'a>(
    roles: Vec<&'a ResolvedRole>,
    proposed: Option<&str>,
    stated: fn(&ResolvedRole) -> Option<&str>,
) -> (Option<String>, Vec<&'a ResolvedRole>) {
    let fits = |role: &&ResolvedRole, value: &str| stated(role).is_none_or(|own| own == value);
    let value = proposed
        .filter(|value| roles.iter().any(|role| fits(role, value)))
        .or_else(|| roles.iter().find_map(|role| stated(role)))
        .map(str::to_owned);
    let of_value = |role: &&ResolvedRole| value.as_deref().is_none_or(|value| fits(role, value));
    let along = roles.into_iter().filter(of_value).collect();
    (value, along)
}

fn spec_of(role: &ResolvedRole) -> Option<&PodSpec> {
    role.template.spec.as_ref()
}

fn own_scheduler(role: &ResolvedRole) -> Option<&str> {
    spec_of(role)?
        .scheduler_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

fn own_class(role: &ResolvedRole) -> Option<&str> {
    spec_of(role)?
        .priority_class_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

/// Text about a gang that cannot be placed. `words` is the scheduler's count of pods that do not fit. The pods have the
/// reasons; texts that only repeat `words` are left out.
pub(crate) fn no_place(ctx: &Context<'_>, words: &str, pods: impl Iterator<Item = String>) -> String {
    let mut pods = pods.filter(|why| words.is_empty() || !why.contains(words));
    let why = pods.next().map_or(String::new(), |why| format!("; {why}"));
    format!("{}{words}{why}", stored::no_place(&ctx.job.key.name))
}

/// Events that inform the user once, when the job starts.
pub(crate) fn first_words(ctx: &Context<'_>) -> Vec<Event> {
    let gang = &ctx.settings.gang;
    if *gang == Gang::None {
        return Vec::new();
    }
    let roles = || ctx.job.roles.iter().filter(|r| r.count > 0);
    let other = |role: &ResolvedRole| own_scheduler(role).is_some_and(|own| own != gang.scheduler());
    let mut events = Vec::new();
    if *gang != Gang::Native && roles().any(other) {
        events.push(warning("SetPodTemplateSchedulerName", OTHER_SCHEDULER));
    }
    let members = members(ctx);
    let inside = |role: Role| members.as_ref().is_some_and(|m| m.roles.contains(&role));
    events.extend(roles().filter(|r| !inside(r.role)).map(|r| {
        let text = format!(
            "{} pods are placed by themselves: a gang has one scheduler and one priority, and their template asks for \
             others (schedulerName {}, priorityClassName {})",
            r.role,
            own_scheduler(r).unwrap_or("none"),
            own_class(r).unwrap_or("none"),
        );
        warning("NotInGang", text)
    }));
    events
}

/// Makes a pod a member of the gang, if pods of its role are members.
pub(crate) fn mark(ctx: &Context<'_>, members: Option<&Members>, role: Role, pod: &mut Pod) {
    if let Some(members) = members.filter(|m| m.roles.contains(&role)) {
        pod_group::mark(pod, ctx.job, role, &ctx.settings.gang, members.class.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_stored_besides_stays_and_is_no_difference() {
        let stored = json!({"minMember": 3, "queue": "q", "minTaskMember": {"a": 1}, "minResources": {"cpu": "1", "gpu": "2"}});
        assert_eq!(changes(&stored, &json!({"minMember": 3})), None);
        assert_eq!(
            changes(&stored, &json!({"minMember": 2, "minResources": {"cpu": "1"}})),
            Some(json!({"minMember": 2, "minResources": {"gpu": null}}))
        );
        assert_eq!(
            changes(&stored, &json!({"minResources": {"cpu": "1", "gpu": "2"}})),
            None
        );
        let native = json!({"schedulingPolicy": {"gang": {"minCount": 3}}, "priority": 0});
        let wanted = json!({"schedulingPolicy": {"gang": {"minCount": 2}}});
        assert_eq!(changes(&native, &wanted), Some(wanted.clone()));
        assert_eq!(changes(&Value::Null, &wanted), Some(wanted));
    }
}
