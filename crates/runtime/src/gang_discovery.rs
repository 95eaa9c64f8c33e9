//! Discovery of the gang scheduler, once at the start.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use common::gang::{Gang, PodGroupApi};
use serde::Deserialize;

use crate::backoff;
use crate::client::Api;
use crate::resource::Resource;
use crate::response::RequestError;

/// First and longest delay between two failed requests.
const DELAYS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Number of refusals in a row, about a minute's worth, after which the cause is not an API server that has just started.
const REFUSALS: u32 = 11;

/// Choice of the gang scheduler.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GangChoice {
    /// Kubernetes' own, if the API server serves its PodGroups; else none.
    #[default]
    Auto,
    /// The given one.
    Fixed(Gang),
}

impl FromStr for GangChoice {
    type Err = Infallible;

    /// Reads `auto`, `native`, `none` or `volcano`, in any case; the empty text means `auto`. Any other word is the name of a
    /// scheduler that reads the PodGroups of the scheduler-plugins.
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
    /// API of PodGroups that may be needed.
    #[must_use]
    pub fn api(&self) -> Option<PodGroupApi> {
        match self {
            Self::Auto => Some(PodGroupApi::Native),
            Self::Fixed(gang) => gang.api(),
        }
    }
}

/// Returns `true` if decisions about gangs of an API read priority classes.
#[must_use]
pub(crate) fn reads_priorities(api: PodGroupApi) -> bool {
    match api {
        // Kubernetes' scheduler adds up the resource requests of pods itself.
        PodGroupApi::Native => false,
        PodGroupApi::Volcano | PodGroupApi::Coscheduling => true,
    }
}

/// Finds out which gang scheduler there is. Asks until there is a response.
pub(crate) async fn resolve(api: &Api, choice: GangChoice) -> Gang {
    let served = |of| is_served(move || api.discover(Resource::pod_groups(of)));
    let (gang, found) = match choice {
        GangChoice::Auto if served(PodGroupApi::Native).await => (Gang::Native, true),
        GangChoice::Auto => (Gang::None, true),
        GangChoice::Fixed(gang) => {
            let found = match gang.api() {
                Some(of) => served(of).await,
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

async fn is_served<F: Future<Output = Result<Vec<u8>, RequestError>>>(ask: impl Fn() -> F) -> bool {
    let (mut failures, mut refusals) = (0_u32, 0_u32);
    loop {
        let error = match ask().await {
            Ok(response) => return names_pod_groups(&response),
            Err(error) if error.is_not_found() => return false,
            Err(error) => error,
        };
        failures = failures.saturating_add(1);
        refusals = if error.is_forbidden() {
            refusals.saturating_add(1)
        } else {
            0
        };
        // An account that may not even ask has no rights to PodGroups either.
        if refusals >= REFUSALS {
            tracing::error!(%error, refusals, "not allowed to ask for PodGroups: taken not to be served");
            return false;
        }
        tracing::warn!(%error, failures, "cannot find out whether there are PodGroups");
        tokio::time::sleep(backoff::delay(DELAYS.0, DELAYS.1, failures)).await;
    }
}

fn names_pod_groups(response: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        resources: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    serde_json::from_slice::<List>(response)
        .is_ok_and(|list| list.resources.iter().any(|r| r.name == "podgroups"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::response::Response;

    const SERVED: &[u8] = br#"{"resources": [{"name": "podgroups"}]}"#;

    /// Asks a server that responds with these codes, the last one over and over. Returns the number of requests too.
    async fn asked(codes: &[u16]) -> (bool, usize) {
        let asked = Cell::new(0_usize);
        let served = is_served(|| {
            let code = codes[asked.get().min(codes.len() - 1)];
            asked.set(asked.get() + 1);
            async move {
                match code {
                    200 => Ok(SERVED.to_vec()),
                    _ => Err(RequestError::Response(Box::new(Response::of(code, b"", None)))),
                }
            }
        });
        (served.await, asked.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_just_begun_is_asked_again() {
        assert_eq!(asked(&[200]).await, (true, 1));
        assert_eq!(asked(&[404]).await, (false, 1));
        assert_eq!(asked(&[403, 403, 500, 200]).await, (true, 4));
        let mut unknown = [401; 50];
        unknown[49] = 200;
        assert_eq!(asked(&unknown).await, (true, 50), "no token is refused for good");
        let begun = tokio::time::Instant::now();
        assert_eq!(asked(&[500, 403]).await, (false, 12));
        assert!((40..90).contains(&begun.elapsed().as_secs()));
    }

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
