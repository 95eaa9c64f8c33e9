//! What status and events say.

use common::gang::{Gang, Placement};
use common::objects::Extra;
use common::resolve;
use serde_json::json;

use super::kit::{bring_up, come_back, end, events, for_every_kind, job, last, policy, replacing, spec};

/// Counts were there from the second pass on.
#[test]
fn the_first_status_counts_every_role() {
    for_every_kind(|framework| {
        let world = job(framework, 2, |_| {});
        let first = world.plan(framework).status.unwrap();
        let job = resolve::resolve(framework, world.job.as_ref().unwrap()).unwrap();
        let roles: Vec<&str> = job.roles.iter().map(|replica| replica.role.0).collect();
        for role in &roles {
            assert!(first.replica_statuses.contains_key(*role), "{role}");
        }
        assert_eq!(first.replica_statuses.len(), roles.len());
    });
}

/// Reasons with spaces, without the kind, or with the kind twice.
#[test]
fn reasons_are_single_words_and_name_the_kind_once() {
    for_every_kind(|framework| {
        let kind = framework.kind().kind;
        let mut world = job(framework, 2, |spec| {
            policy(framework, spec, replacing(framework));
            spec["runPolicy"]["backoffLimit"] = json!(1);
        });
        let mut plans = bring_up(framework, &mut world);
        spec(&mut world)["runPolicy"]["suspend"] = json!(true);
        plans.extend(come_back(framework, &mut world));
        spec(&mut world)["runPolicy"]["suspend"] = json!(false);
        plans.extend(come_back(framework, &mut world));
        for _ in 0..2 {
            let pod = last(&world);
            end(framework, &mut world, &pod, 137);
            plans.extend(come_back(framework, &mut world));
        }
        let one_word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(char::is_alphanumeric)
        };
        let told = events(&plans);
        assert!(told.len() >= 5, "{told:?}");
        for event in told {
            assert!(one_word(&event.reason), "{}", event.reason);
        }
        for condition in world.status().conditions {
            let reason = condition.reason.unwrap();
            assert!(one_word(&reason) && reason.matches(kind).count() == 1, "{reason}");
            assert!(reason.starts_with(kind), "{reason}");
        }
    });
}

/// A job whose gang has no place wrote its status every second.
#[test]
fn a_gang_that_waits_writes_nothing_as_time_goes_by() {
    for_every_kind(|framework| {
        for gang in [Gang::Native, Gang::Volcano] {
            let mut world = job(framework, 2, |_| {});
            world.settings.gang = gang.clone();
            world.settle(framework);
            let none = Placement::Unschedulable {
                reason: "Unschedulable".into(),
                message: "no room".into(),
            };
            world.say_of_pod_group(Some("Pending"), &none);
            world.settle(framework);
            assert!(
                world.status().waiting_for.unwrap().contains("no room"),
                "{gang:?}"
            );
            world.is_stable(framework);
        }
    });
}

/// Kubernetes refuses whoever would grant what he may not do himself.
#[test]
fn the_operator_may_do_itself_what_it_lets_launchers_do() {
    let may = runtime::access::table(operator::FRAMEWORKS, &runtime::GangChoice::Auto);
    let mut granted = 0;
    for framework in common::testing::meanings(operator::FRAMEWORKS) {
        let mut world = job(framework, 2, |_| {});
        world.settle(framework);
        let rules = world.extras.values().filter_map(|extra| match extra {
            Extra::Role(role) => role.rules.clone(),
            _ => None,
        });
        for rule in rules.flatten() {
            for (resource, verb) in rule
                .resources
                .iter()
                .flatten()
                .flat_map(|r| rule.verbs.iter().map(move |v| (r, v)))
            {
                let covers = |line: &runtime::access::Access| {
                    line.group.is_empty() && line.resource == **resource && line.verbs.contains(&&**verb)
                };
                assert!(may.iter().any(covers), "{verb} {resource}");
                granted += 1;
            }
        }
    }
    assert!(granted >= 3, "the launcher of v1 may exec into its workers");
}
