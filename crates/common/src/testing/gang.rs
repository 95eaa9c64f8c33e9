//! PodGroups, and a scheduler that places the pods of a gang together.

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{World, merge_patch};
use crate::gang::{Placement, PodGroupApi, PodGroupView};
use crate::names::{self, Uid};
use crate::objects::{Child, ChildKind};
use crate::observe::{ChildView, Phase, PodView};

/// API of the PodGroup that a pod belongs to.
pub(super) fn of(metadata: &ObjectMeta, spec: Option<&PodSpec>) -> Option<PodGroupApi> {
    let has = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
        map.as_ref().is_some_and(|map| map.contains_key(key))
    };
    if spec.is_some_and(|spec| spec.scheduling_group.is_some()) {
        Some(PodGroupApi::Native)
    } else if has(&metadata.annotations, names::VOLCANO_GROUP) {
        Some(PodGroupApi::Volcano)
    } else {
        has(&metadata.labels, names::COSCHEDULING_GROUP).then_some(PodGroupApi::Coscheduling)
    }
}

/// View of a stored PodGroup.
pub(super) fn view(child: &Child) -> Option<Box<PodGroupView>> {
    match child {
        Child::PodGroup(group) => Some(Box::new(PodGroupView {
            spec: group.spec.clone(),
            ..PodGroupView::default()
        })),
        Child::Service(_) | Child::Autoscaler(_) => None,
    }
}

/// Merges a wanted PodGroup into the spec of a stored one.
pub(super) fn change(children: &mut [ChildView], uid: &Uid, to: &Child) {
    let Child::PodGroup(to) = to else { return };
    for group in children.iter_mut().filter(|child| child.uid == *uid) {
        if let Some(group) = &mut group.pod_group {
            merge_patch(&mut group.spec, &to.spec);
        }
    }
}

impl World {
    /// True if a pod of a gang has not ended.
    pub(super) fn has_gang(&self) -> bool {
        let carried = self.batch_pods.iter().map(|(_, pod)| pod);
        let ended = |pod: &PodView| matches!(pod.phase, Phase::Succeeded | Phase::Failed);
        self.pods
            .iter()
            .chain(carried)
            .any(|pod| pod.gang.is_some() && !ended(pod))
    }

    /// The PodGroup, if there is one.
    #[must_use]
    pub fn pod_group(&self) -> Option<&PodGroupView> {
        let group = self
            .children
            .iter()
            .find(|c| matches!(c.kind, ChildKind::PodGroup(_)));
        group.and_then(|group| group.pod_group.as_deref())
    }

    /// A scheduler sets phase and placement of the PodGroup.
    ///
    /// # Panics
    /// If there is none.
    pub fn say_of_pod_group(&mut self, phase: Option<&str>, placement: &Placement) {
        let groups = self.children.iter_mut().filter_map(|c| c.pod_group.as_mut());
        let mut groups = groups.peekable();
        assert!(groups.peek().is_some(), "no PodGroup");
        for group in groups {
            group.phase = phase.map(Into::into);
            group.placement = placement.clone();
        }
    }

    /// One round of a scheduler with room for so many more pods: it places pods of the gang if enough of them exist and fit
    /// beside those that were placed before. Returns the number of placed pods.
    pub fn schedule(&mut self, room: usize) -> usize {
        let min = self.pod_group().map_or(0, |group| {
            let spec = &group.spec;
            let native = spec.pointer("/schedulingPolicy/gang/minCount");
            native
                .or_else(|| spec.get("minMember"))
                .and_then(Value::as_u64)
                .unwrap_or(0)
        });
        let min = usize::try_from(min).unwrap_or(usize::MAX);
        let carried = self.batch_pods.iter_mut().map(|(_, pod)| pod);
        let all: Vec<&mut PodView> = self
            .pods
            .iter_mut()
            .chain(carried)
            .filter(|p| p.gang.is_some() && !matches!(p.phase, Phase::Succeeded | Phase::Failed))
            .collect();
        let placed = all.iter().filter(|pod| pod.node.is_some()).count();
        let waiting: Vec<&mut PodView> = all
            .into_iter()
            .filter(|pod| pod.node.is_none() && !pod.deleting)
            .collect();
        let fit = waiting.len().min(room);
        if fit == 0 || placed.saturating_add(fit) < min {
            return 0;
        }
        for pod in waiting.into_iter().take(fit) {
            pod.node = Some("node-1".into());
        }
        fit
    }
}
