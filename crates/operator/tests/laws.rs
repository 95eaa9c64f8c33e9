//! Laws that hold whatever happens: random jobs, random faults, the operator dying after any request.
//!
//! Written against the seam only: they run over the registry, and over each dialect of a kind that has several.

use common::conditions;
use std::sync::Arc;

use common::api::{ConditionType, JobStatus};
use common::gang::{Gang, Placement, PodGroupApi};
use common::kind::ExtraKind;
use common::objects::{Child, ChildKind};
use common::observe::{ChildView, Phase};
use common::plan::{Plan, Write, WriteClass};
use common::testing::{World, manifest, meanings};
use common::{Framework, PodView, ReplicaId, Replicas, RoleInfo};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::rules::{check_intent, check_status};

/// Every meaning of every kind.
fn frameworks() -> Vec<&'static dyn Framework> {
    meanings(operator::FRAMEWORKS)
}

/// Nodes of the cluster.
const NODES: usize = 3;

/// One thing that happens. Numbers choose a pod, modulo the pods there are.
#[derive(Debug, Clone)]
enum Step {
    RunAll,
    End(usize, i32),
    RestartInPlace(usize),
    Evict(usize, bool),
    Delete(usize),
    Vanish(usize),
    Reap,
    LoseNode(usize),
    VouchFor(usize),
    RecoverNode(usize),
    PassTime(i64),
    Suspend(bool),
    Scale(u32),
    /// All roles that may be are scaled, the leader's too.
    ScaleAll(u32),
    /// The autoscaler is to go up to so many, or not to be.
    Autoscale(Option<i32>),
    /// The gang's scheduler says something of it, and places pods where so many have room.
    Schedule(&'static str, usize),
    /// Reconcile, and die after so many requests.
    CrashAfter(usize),
    Reconcile,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::RunAll),
        3 => (0..9_usize, prop_oneof![Just(0), Just(1), Just(137), Just(143)]).prop_map(|(p, c)| Step::End(p, c)),
        1 => (0..9_usize).prop_map(Step::RestartInPlace),
        1 => (0..9_usize, any::<bool>()).prop_map(|(p, d)| Step::Evict(p, d)),
        2 => (0..9_usize).prop_map(Step::Delete),
        1 => (0..9_usize).prop_map(Step::Vanish),
        3 => Just(Step::Reap),
        2 => (0..NODES).prop_map(Step::LoseNode),
        1 => (0..NODES).prop_map(Step::VouchFor),
        1 => (0..NODES).prop_map(Step::RecoverNode),
        2 => (1..700_i64).prop_map(Step::PassTime),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => (0..5_u32).prop_map(Step::Scale),
        1 => (0..3_u32).prop_map(Step::ScaleAll),
        1 => prop::option::of(3..6_i32).prop_map(Step::Autoscale),
        4 => (prop::sample::select(vec!["Pending", "Inqueue", "Running"]), 0..9_usize)
            .prop_map(|(phase, room)| Step::Schedule(phase, room)),
        4 => (0..6_usize).prop_map(Step::CrashAfter),
        6 => Just(Step::Reconcile),
    ]
}

#[derive(Debug, Clone)]
struct Job {
    framework: usize,
    counts: Vec<u32>,
    restart_policy: &'static str,
    backoff_limit: Option<i32>,
    deadline: Option<i64>,
    clean: &'static str,
    ttl: Option<i32>,
    scope: &'static str,
    success: usize,
    elastic: bool,
    node_lost_after: Option<i64>,
    count_disruptions: bool,
    gang: Gang,
    min_available: Option<i32>,
}

fn gangs() -> impl Strategy<Value = (Gang, Option<i32>)> {
    let scheduler = "my-sched".to_owned();
    let all = vec![
        Gang::None,
        Gang::Native,
        Gang::Volcano,
        Gang::Coscheduling { scheduler },
    ];
    (prop::sample::select(all), prop::option::of(0..5_i32))
}

fn job() -> impl Strategy<Value = Job> {
    (
        0..frameworks().len(),
        prop::collection::vec(0..4_u32, 5),
        prop::sample::select(vec!["Always", "OnFailure", "Never", "ExitCode"]),
        prop::option::of(0..4_i32),
        prop::option::of(1..900_i64),
        prop::sample::select(vec!["None", "Running", "All"]),
        prop::option::of(0..900_i32),
        prop::option::weighted(0.8, 1..400_i64),
        prop::bool::weighted(0.3),
        (
            prop::sample::select(vec!["Pod", "Pod", "Job"]),
            0..6_usize,
            any::<bool>(),
        ),
        gangs(),
    )
        .prop_map(
            |(
                framework,
                counts,
                restart_policy,
                backoff_limit,
                deadline,
                clean,
                ttl,
                node_lost_after,
                count_disruptions,
                (scope, success, elastic),
                (gang, min_available),
            )| Job {
                framework,
                counts,
                restart_policy,
                backoff_limit,
                deadline,
                clean,
                ttl,
                scope,
                success,
                elastic,
                node_lost_after,
                count_disruptions,
                gang,
                min_available,
            },
        )
}

fn world(job: &Job) -> (World, &'static dyn Framework) {
    let framework = frameworks()[job.framework];
    let info = framework.kind();
    let roles: Vec<(&str, u32)> = info
        .roles
        .iter()
        .zip(&job.counts)
        .map(|(role, count)| {
            let count = role.max_replicas.map_or(*count, |max| max.min(*count));
            (role.role.0, count.max(role.min_replicas))
        })
        .collect();
    let mut manifest = manifest(framework, "j", &roles);
    for (role, _) in &roles {
        manifest["spec"][info.replicas_field][*role]["restartPolicy"] = json!(job.restart_policy);
    }
    manifest["spec"]["runPolicy"] = json!({
        "backoffLimit": job.backoff_limit, "activeDeadlineSeconds": job.deadline, "cleanPodPolicy": job.clean,
        "ttlSecondsAfterFinished": job.ttl, "suspend": false, "restartScope": job.scope,
        "schedulingPolicy": {"minAvailable": job.min_available},
    });
    if let Some(policy) = info.success_policies.get(job.success) {
        manifest["spec"]["successPolicy"] = json!(policy);
    }
    if info.makes.contains(&ExtraKind::Autoscaler) && job.elastic {
        manifest["spec"]["elasticPolicy"] = json!({});
    }
    if let Some(stamp) = info.stamp {
        manifest["spec"][stamp.field] = json!(stamp.value);
    }
    let mut world = World::new(framework, &manifest);
    world.nodes = NODES;
    world.settings.node_lost_after = job.node_lost_after;
    world.settings.count_disruptions = job.count_disruptions;
    world.settings.gang = job.gang.clone();
    (world, framework)
}

fn node(n: usize) -> String {
    format!("node-{}", n + 1)
}

fn happen(world: &mut World, framework: &dyn Framework, step: &Step) {
    let info = framework.kind();
    let name = |world: &World, n: usize| {
        let pods = world.pods.iter().map(|p| p.name.to_string());
        let has_pods = |uid| world.batch_pods.iter().any(|(owner, _)| owner == uid);
        let jobs = world
            .batch_jobs
            .iter()
            .filter(|j| has_pods(&j.uid))
            .map(|j| j.name.to_string());
        let all: Vec<String> = pods.chain(jobs).collect();
        (!all.is_empty()).then(|| all[n % all.len()].clone())
    };
    match step {
        Step::RunAll => world.run_all(),
        Step::End(n, code) => {
            if let Some(name) = name(world, *n) {
                world.end(&name, info.container.unwrap_or("main"), *code, "Error", None);
            }
        }
        Step::RestartInPlace(n) => {
            if let Some(name) = name(world, *n) {
                world.pod(&name).restarts += 1;
            }
        }
        Step::Evict(n, disruption) => {
            if let Some(name) = name(world, *n) {
                world.evict(&name, disruption.then_some("EvictionByEvictionAPI"));
            }
        }
        Step::Delete(n) => {
            if let Some(name) = name(world, *n) {
                world.delete(&name);
            }
        }
        Step::Vanish(n) => {
            if let Some(name) = name(world, *n) {
                world.vanish(&name);
            }
        }
        Step::Reap => world.reap(),
        Step::LoseNode(n) => world.lose_node(&node(*n)),
        Step::VouchFor(n) => world.vouch_for(&node(*n)),
        Step::RecoverNode(n) => world.recover_node(&node(*n)),
        Step::PassTime(seconds) => world.pass_time(*seconds),
        Step::Suspend(suspend) => world.edit("/runPolicy/suspend", json!(suspend)),
        Step::Scale(count) => {
            let role = info.roles.last().unwrap().role;
            world.edit(&format!("/{}/{role}/replicas", info.replicas_field), json!(count));
        }
        Step::ScaleAll(count) => {
            for role in info.roles {
                let count = role
                    .max_replicas
                    .map_or(*count, |max| max.min(*count))
                    .max(role.min_replicas);
                let path = format!("/{}/{}/replicas", info.replicas_field, role.role);
                world.edit(&path, json!(count));
            }
        }
        Step::Autoscale(max) => {
            if info.makes.contains(&ExtraKind::Autoscaler) {
                let metrics = json!([{"type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]);
                let metrics = max.map(|_| metrics);
                let policy = json!({"minReplicas": 1, "maxReplicas": max.unwrap_or(5), "metrics": metrics});
                world.edit("/elasticPolicy", policy);
            }
        }
        Step::Schedule(phase, room) => {
            if world.pod_group().is_some() {
                let placed = world.schedule(*room) > 0;
                let none = Placement::Unschedulable {
                    reason: "Unschedulable".into(),
                    message: "no room".into(),
                };
                world.say_of_pod_group(Some(phase), if placed { &Placement::Found } else { &none });
            }
        }
        Step::CrashAfter(limit) => {
            let plan = world.plan(framework);
            world.apply_until(&plan, *limit);
        }
        Step::Reconcile => {
            let plan = world.plan(framework);
            world.apply(&plan);
        }
    }
}

/// What every plan keeps to, whatever it was made from.
fn check_plan(world: &World, plan: &Plan) {
    let stored = world.status();
    let order: Vec<_> = plan.writes.iter().map(Write::class).collect();
    assert!(order.is_sorted(), "writes out of class order: {order:?}");
    let job = world.job.as_ref().unwrap();
    for write in &plan.writes {
        match write {
            Write::CreatePod { pod, .. } => {
                let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
                assert_eq!(owner.uid, job.uid.as_str());
                let name = pod.metadata.name.as_deref().unwrap();
                assert!(
                    world.pods.iter().all(|p| *p.name != *name),
                    "{name} is still there"
                );
                assert!(!conditions::is_finished(&stored), "a finished job makes no pods");
                assert!(
                    !conditions::is_true(&stored, ConditionType::Suspended),
                    "nor does a suspended one"
                );
                let of_before = world.pods.iter().filter(|p| p.attempt.0 < stored.attempt);
                assert!(
                    job.spec["runPolicy"]["restartScope"] == "Pod" || of_before.count() == 0,
                    "{name} is made while pods of the attempt before are there"
                );
            }
            Write::CreateChild(child) => {
                let object = serde_json::to_value(child).unwrap();
                assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], job.uid.as_str());
            }
            Write::DeletePod { name, uid, force } => check_delete(world, plan, name, uid.as_str(), *force),
            Write::Ensure(_) => assert!(!conditions::is_finished(&stored), "a finished job needs nothing"),
            Write::CreateBatchJob { job: made, .. } => {
                let name = made.metadata.name.as_deref().unwrap();
                assert!(
                    world.batch_jobs.iter().all(|j| *j.name != *name),
                    "{name} is still there"
                );
                let live = world
                    .batch_pods
                    .iter()
                    .filter(|(_, p)| !matches!(p.phase, Phase::Succeeded | Phase::Failed));
                assert_eq!(live.count(), 0, "two launchers at a time");
                assert!(
                    !conditions::is_finished(&stored)
                        && !conditions::is_true(&stored, ConditionType::Suspended)
                );
                assert_eq!(
                    made.metadata.owner_references.as_ref().unwrap()[0].uid,
                    job.uid.as_str()
                );
            }
            Write::DeleteBatchJob { name, uid } => {
                let found = world
                    .batch_jobs
                    .iter()
                    .find(|j| *j.name == **name && j.uid == *uid);
                let known = plan.intent.clone().unwrap_or_else(|| world.status());
                check_intent(
                    world.job.as_ref().unwrap(),
                    &known,
                    name,
                    found.unwrap().attempt.0,
                );
            }
            Write::ChangeChild { to, uid } => {
                let is = |c: &ChildView| c.kind == to.kind() && *c.name == *to.name() && c.uid == *uid;
                let found = world.children.iter().find(|c| is(c)).expect("foreign");
                match to {
                    Child::PodGroup(to) => {
                        let stored = &found.pod_group.as_ref().unwrap().spec;
                        assert!(
                            !is_part_of(&to.spec, stored),
                            "{} says nothing new of {stored}",
                            to.spec
                        );
                    }
                    Child::Autoscaler(_) | Child::Service(_) => {
                        assert_ne!(found.digest.as_deref(), to.digest(), "nothing to change");
                    }
                }
                assert!(
                    !conditions::is_finished(&stored)
                        && !conditions::is_true(&stored, ConditionType::Suspended)
                );
            }
            Write::DeleteChild { kind, name, uid } => {
                let is = |c: &ChildView| c.kind == *kind && *c.name == **name && c.uid == *uid;
                assert!(world.children.iter().any(is), "foreign {name}");
            }
            Write::DeleteJob {
                uid,
                resource_version,
            } => {
                assert!(*uid == job.uid && *resource_version == job.resource_version);
            }
        }
    }
    check_gang(world, plan);
    if let Some(next) = &plan.status {
        check_retries(job.key.kind, &stored, next);
        check_status(
            &stored,
            next,
            job.spec
                .pointer("/runPolicy/backoffLimit")
                .and_then(serde_json::Value::as_i64),
            world.settings.count_disruptions,
        );
    }
}

/// Whether a merge patch changes nothing.
fn is_part_of(patch: &Value, stored: &Value) -> bool {
    match patch {
        Value::Object(fields) => fields
            .iter()
            .all(|(key, value)| is_part_of(value, stored.get(key).unwrap_or(&Value::Null))),
        value => value == stored,
    }
}

/// No pod is made while its gang is missing, and no gang is asked for more pods than there will be.
fn check_gang(world: &World, plan: &Plan) {
    let made = plan
        .writes
        .iter()
        .filter(|w| w.class() == WriteClass::Pods)
        .count();
    let is_group = |w: &Write| matches!(w, Write::CreateChild(Child::PodGroup(_)));
    let created = plan.writes.iter().any(is_group);
    let Some(api) = world.settings.gang.api() else {
        assert!(!created);
        return;
    };
    if made == 0 {
        return;
    }
    assert!(world.pod_group().is_some() || created, "no gang");
    let mut after = world.clone();
    after.apply(plan);
    let spec = after.pod_group().unwrap().spec.clone();
    let native = spec.pointer("/schedulingPolicy/gang/minCount");
    let min = native
        .or_else(|| spec.get("minMember"))
        .unwrap()
        .as_u64()
        .unwrap();
    let carried = after.batch_pods.iter().map(|(_, pod)| pod);
    let there = after.pods.iter().chain(carried).filter(|p| {
        p.gang == Some(api) && !p.deleting && !matches!(p.phase, Phase::Succeeded | Phase::Failed)
    });
    let there = there.count();
    assert!(
        min >= 1 && usize::try_from(min).unwrap() <= there,
        "{min} wanted of {there}: they wait for ever"
    );
    if api == PodGroupApi::Volcano && there == made {
        let phase = after.pod_group().unwrap().phase.clone();
        assert!(
            phase.is_some_and(|phase| &*phase != "Pending"),
            "not admitted yet"
        );
    }
}

/// Nothing destructive before its intent is stored; and nothing by force but what is lost for long enough.
fn check_delete(world: &World, plan: &Plan, name: &str, uid: &str, force: bool) {
    let is = |p: &&PodView| *p.name == *name && p.uid.as_str() == uid;
    let known = plan.intent.clone().unwrap_or_else(|| world.status());
    if force {
        let pods = world
            .pods
            .iter()
            .chain(world.batch_pods.iter().map(|(_, pod)| pod));
        let pod = pods
            .clone()
            .find(is)
            .unwrap_or_else(|| panic!("{name} is not ours"));
        assert!(!pod.has_ended(), "{name} has ended");
        let node = &world.unreachable_nodes[pod.node.as_ref().unwrap()];
        let limit = world.settings.node_lost_after.expect("never");
        let lost_for = world.now.duration_since(node.since).as_secs();
        assert!(node.out_of_service || lost_for >= limit, "{name} may be alive");
    }
    if force && !world.pods.iter().any(|p| is(&p)) {
        let (_, pod) = world.batch_pods.iter().find(|(_, p)| is(&p)).unwrap();
        assert!(pod.deleting, "{name} is its batch Job's");
        return;
    }
    let pod = world
        .pods
        .iter()
        .find(is)
        .unwrap_or_else(|| panic!("{name} is not ours"));
    check_intent(world.job.as_ref().unwrap(), &known, name, pod.attempt.0);
}

/// Retries are never forgotten, whatever becomes of the pods that they were of. (A launcher's that are its workers' fault
/// are excused_retries.)
fn check_retries(kind: &str, stored: &JobStatus, next: &JobStatus) {
    let forgiving = |f: &&dyn Framework| f.kind().roles.iter().any(|role| role.depends_on.is_some());
    if frameworks()
        .iter()
        .filter(|f| f.kind().kind == kind)
        .any(forgiving)
    {
        return;
    }
    let all = |s: &JobStatus| s.restart_counts.as_ref().map_or(0, |c| c.failures + c.in_place);
    assert!(
        all(next) >= all(stored),
        "{} retries were {}",
        all(next),
        all(stored)
    );
}

/// In the end there is one autoscaler, and it says what the job says; or none, where there is nothing to scale.
fn check_autoscaler(world: &World, framework: &dyn Framework) {
    let job = world.job.as_ref().unwrap();
    let found = world.children.iter().filter(|c| c.kind == ChildKind::Autoscaler);
    let found: Vec<_> = found.map(|c| c.digest.as_deref()).collect();
    let ended = conditions::is_finished(&world.status());
    match common::resolve::resolve(framework, job) {
        _ if ended => assert_eq!(found, [], "an ended job is not scaled"),
        Ok(job) if job.policy.suspend => assert_eq!(found, [], "nor a suspended one"),
        // A job that goes on as it is keeps what it has.
        Ok(_) if world.status().waiting_for.is_some() => {}
        Ok(job) => {
            let wanted = framework.autoscaler(&job).map(|a| Child::Autoscaler(Box::new(a)));
            let wanted: Vec<_> = wanted.iter().map(Child::digest).collect();
            assert_eq!(found, wanted);
        }
        Err(_) => {}
    }
}

/// Nothing that leads a job that has begun is taken away because fewer were wanted.
fn check_leader_stays(world: &World, framework: &dyn Framework, plan: &Plan) {
    let job = world.job.as_ref().unwrap();
    let Some(intent) = plan.intent.as_ref() else {
        return;
    };
    let scaled_down = |replica: &String| {
        let reason = |s: &JobStatus| s.slots.get(replica).and_then(|s| s.reason.clone());
        reason(intent).as_deref() == Some("scaled down")
            && intent.slots.get(replica) != world.status().slots.get(replica)
    };
    let info = framework.kind();
    let id = |replica: &String| info.replica_of(&job.key.name, &format!("{}-{replica}", job.key.name));
    let gone: Vec<ReplicaId> = intent
        .slots
        .keys()
        .filter(|s| scaled_down(s))
        .filter_map(id)
        .collect();
    if gone.is_empty() {
        return;
    }
    let resolved = common::resolve::resolve(framework, job).unwrap();
    let one = |role: &'static RoleInfo| gone.iter().any(|id| id.role == role.role && id.index.0 == 0);
    let before = info
        .roles
        .iter()
        .map(|role| (role, resolved.replicas.count(role.role).max(u32::from(one(role)))));
    let before = Replicas::new(&job.key.name, before);
    let first = before.all().first().map(|replica| replica.id);
    let leader = framework.leader(&before, &resolved).or(first);
    assert!(
        !gone.iter().any(|id| Some(*id) == leader),
        "{leader:?} leads and is scaled down"
    );
}

fn check_order_is_irrelevant(world: &World, framework: &dyn Framework, plan: &Plan) {
    let mut observed = world.observe().unwrap();
    observed.pods.reverse();
    observed.children.reverse();
    let pods: Vec<_> = observed.pods.iter().map(Arc::clone).collect();
    assert_eq!(pods.len(), world.pods.len());
    let reversed = common::plan(framework, &observed, &world.settings);
    assert_eq!(reversed.intent, plan.intent);
    assert_eq!(reversed.status, plan.status);
    let keys = |plan: &Plan| {
        let mut keys: Vec<String> = plan.writes.iter().map(|w| format!("{w:?}")).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&reversed), keys(plan));
}

/// Woken when the plans ask for it, the operator leaves no pod on a lost node that nobody wants any more, and none of a
/// replica that could go on elsewhere.
fn check_that_none_is_stuck(world: &mut World, framework: &dyn Framework) {
    if world.settings.node_lost_after.is_none() {
        return;
    }
    for _ in 0..50 {
        if world.job.is_none() {
            return;
        }
        let plan = world.plan(framework);
        // A job whose spec cannot be carried out goes on as it is.
        if plan.keeps_vanished {
            return;
        }
        let Some(requeue_at) = plan.requeue_at else { break };
        world.now = world.now.max(requeue_at);
        world.settle(framework);
    }
    let finished = conditions::is_finished(&world.status());
    let pods = world
        .pods
        .iter()
        .chain(world.batch_pods.iter().map(|(_, pod)| pod));
    for pod in pods.filter(|p| !p.has_ended()) {
        let lost = pod
            .node
            .as_ref()
            .is_some_and(|node| world.unreachable_nodes.contains_key(node));
        assert!(
            !lost || (finished && !pod.deleting),
            "{} hangs: {}",
            pod.name,
            world.describe()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_through_any_story(job in job(), steps in prop::collection::vec(step(), 1..40)) {
        let (mut world, framework) = world(&job);
        for step in &steps {
            happen(&mut world, framework, step);
            if world.job.is_none() {
                return Ok(());
            }
            let plan = world.plan(framework);
            check_plan(&world, &plan);
            check_leader_stays(&world, framework, &plan);
            check_order_is_irrelevant(&world, framework, &plan);
        }
        // No incarnation of a pod is ever made twice.
        let mut created = world.created.clone();
        created.sort();
        created.dedup();
        prop_assert_eq!(created.len(), world.created.len(), "{:?}", world.created);
        // Left alone, it settles; and then there is nothing left to do.
        world.settle(framework);
        if world.job.is_some() {
            let again = world.plan(framework);
            prop_assert!(world.open(&again).is_empty() && again.intent.is_none() && again.events.is_empty());
            prop_assert_eq!(again.status, Some(world.status()));
            check_autoscaler(&world, framework);
        }
        check_that_none_is_stuck(&mut world, framework);
    }

    #[test]
    fn dying_after_any_request_changes_nothing_in_the_end(
        job in job(),
        before in prop::collection::vec(step(), 0..12),
        limit in 0..8_usize,
    ) {
        let (mut world, framework) = world(&job);
        for step in before.iter().filter(|s| !matches!(s, Step::CrashAfter(_))) {
            happen(&mut world, framework, step);
        }
        if world.job.is_none() {
            return Ok(());
        }
        let mut undisturbed = world.clone();
        undisturbed.settle(framework);
        let plan = world.plan(framework);
        world.apply_until(&plan, limit);
        world.settle(framework);
        prop_assert_eq!(world.status(), undisturbed.status());
        prop_assert_eq!(world.describe(), undisturbed.describe());
        prop_assert_eq!(world.created.len(), undisturbed.created.len());
    }
}
