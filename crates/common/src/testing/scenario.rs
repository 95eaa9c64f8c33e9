//! Scenarios: the life of a job step by step, with a transcript.

use std::fmt::Write as _;

use serde_json::Value;

use super::{World, describe_plan, describe_status, manifest};
use crate::framework::Framework;

/// A world and the transcript of its steps, for snapshots that people read.
pub struct Scenario {
    /// The world.
    pub world: World,
    /// Steps so far.
    pub transcript: String,
    framework: &'static dyn Framework,
}

impl Scenario {
    /// A job with these replicas and an edited `spec`.
    #[must_use]
    pub fn new(
        framework: &'static dyn Framework,
        replicas: &[(&str, u32)],
        edit: impl FnOnce(&mut Value),
    ) -> Self {
        let mut manifest = manifest(framework, "j", replicas);
        if let Some(spec) = manifest.get_mut("spec") {
            edit(spec);
        }
        Self {
            world: World::new(framework, &manifest),
            transcript: String::new(),
            framework,
        }
    }

    /// A job whose pods all run.
    #[must_use]
    pub fn started(
        framework: &'static dyn Framework,
        replicas: &[(&str, u32)],
        edit: impl FnOnce(&mut Value),
    ) -> Self {
        let mut scenario = Self::new(framework, replicas, edit);
        scenario.when("applied", |_| {});
        scenario.when("all pods run", World::run_all);
        scenario
    }

    /// One step: something happens, then all that the operator plans is applied.
    pub fn when(&mut self, what: &str, happens: impl FnOnce(&mut World)) -> &mut Self {
        happens(&mut self.world);
        let _ = writeln!(self.transcript, "## {what}");
        for plan in self.world.settle(self.framework) {
            self.transcript += &describe_plan(&plan);
        }
        let (pods, status) = (self.world.describe(), describe_status(&self.world.status()));
        let _ = writeln!(self.transcript, "-> {pods}\n{status}");
        self
    }
}
