//! Which gang scheduler there is, found out once at the start; and what has to be watched for it.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use common::gang::{Gang, PodGroupApi};
use common::plan::ChildKind;
use serde::Deserialize;

use crate::answer::RetryClass;
use crate::backoff;
use crate::client::Api;
use crate::resource::{PRIORITY_CLASSES, Resource};
use crate::watch::{Shape, Source};

/// First and longest delay between two questions that were not answered.
const DELAYS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Which gang scheduler is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GangChoice {
    /// Kubernetes' own, if the API server serves its PodGroups; else none.
    #[default]
    Auto,
    /// This one.
    Fixed(Gang),
}

impl FromStr for GangChoice {
    type Err = Infallible;

    /// `auto`, `native`, `none`, `volcano`, in any case; nothing means `auto`. Any other word is the name of a scheduler that
    /// reads the PodGroups of the scheduler-plugins.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let word = text.trim();
        Ok(match word.to_ascii_lowercase().as_str() {
            "" | "auto" => Self::Auto,
            "none" => Self::Fixed(Gang::None),
            "native" => Self::Fixed(Gang::Native),
            "volcano" => Self::Fixed(Gang::Volcano),
            _ => Self::Fixed(Gang::Coscheduling {
                scheduler: word.to_owned(),
            }),
        })
    }
}

impl GangChoice {
    /// The API of PodGroups that may be needed.
    #[must_use]
    pub fn api(&self) -> Option<PodGroupApi> {
        match self {
            Self::Auto => Some(PodGroupApi::Native),
            Self::Fixed(gang) => gang.api(),
        }
    }
}

/// Whether decisions about gangs of an API look at priority classes.
#[must_use]
pub(crate) fn reads_priorities(api: PodGroupApi) -> bool {
    match api {
        // Its scheduler adds up what pods ask for by itself.
        PodGroupApi::Native => false,
        PodGroupApi::Volcano | PodGroupApi::Coscheduling => true,
    }
}

/// Finds out which gang scheduler there is. Asks until there is an answer.
pub(crate) async fn resolve(api: &Api, choice: GangChoice) -> Gang {
    let (gang, found) = match choice {
        GangChoice::Auto if is_served(api, PodGroupApi::Native).await => (Gang::Native, true),
        GangChoice::Auto => (Gang::None, true),
        GangChoice::Fixed(gang) => {
            let found = match gang.api() {
                Some(of) => is_served(api, of).await,
                None => true,
            };
            (gang, found)
        }
    };
    if found {
        tracing::info!(%gang, "gang scheduler");
    } else {
        tracing::error!(
            %gang,
            "PodGroups of this gang scheduler are not served by this cluster: jobs wait until they are"
        );
    }
    gang
}

async fn is_served(api: &Api, of: PodGroupApi) -> bool {
    let resource = Resource::pod_groups(of);
    let mut failures = 0_u32;
    loop {
        let error = match api.discover(resource).await {
            Ok(answer) => return names_pod_groups(&answer),
            Err(error) if error.is_not_found() => return false,
            Err(error) => error,
        };
        // Who may not even ask has no rights to PodGroups either.
        if error.class() == RetryClass::Forbidden {
            tracing::warn!(%error, "not allowed to ask for PodGroups");
            return false;
        }
        failures = failures.saturating_add(1);
        tracing::warn!(%error, failures, "cannot find out whether there are PodGroups");
        tokio::time::sleep(backoff::delay(DELAYS.0, DELAYS.1, failures)).await;
    }
}

fn names_pod_groups(answer: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        resources: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    serde_json::from_slice::<List>(answer)
        .is_ok_and(|list| list.resources.iter().any(|r| r.name == "podgroups"))
}

/// What is watched for gangs of an API; `ours` selects the operator's own objects.
pub(crate) fn sources(api: PodGroupApi, namespace: Option<&str>, ours: &str) -> Vec<Source> {
    let groups = Source {
        resource: Resource::pod_groups(api),
        shape: Shape::Child(ChildKind::PodGroup(api)),
        namespace: namespace.map(str::to_owned),
        selector: Some(ours.to_owned()),
    };
    let classes = Source {
        resource: PRIORITY_CLASSES,
        shape: Shape::PriorityClass,
        namespace: None,
        selector: None,
    };
    let classes = reads_priorities(api).then_some(classes);
    std::iter::once(groups).chain(classes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_upstream_means_by_them() {
        let read = |text: &str| text.parse::<GangChoice>().unwrap();
        for auto in ["auto", "Auto", "", " "] {
            assert_eq!(read(auto), GangChoice::Auto, "{auto:?}");
        }
        assert_eq!(read("native"), GangChoice::Fixed(Gang::Native));
        assert_eq!(read("Native"), GangChoice::Fixed(Gang::Native));
        assert_eq!(read("Volcano"), GangChoice::Fixed(Gang::Volcano));
        assert_eq!(read("None"), GangChoice::Fixed(Gang::None));
        let scheduler = "My-sched".to_owned();
        assert_eq!(
            read("My-sched"),
            GangChoice::Fixed(Gang::Coscheduling { scheduler })
        );
    }

    #[test]
    fn a_group_without_pod_groups_is_not_enough() {
        assert!(names_pod_groups(
            br#"{"resources": [{"name": "workloads"}, {"name": "podgroups"}]}"#
        ));
        assert!(!names_pod_groups(br#"{"resources": [{"name": "workloads"}]}"#));
        assert!(!names_pod_groups(b"{}"));
    }
}
