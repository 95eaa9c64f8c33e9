//! A job's life, told.

use std::fmt::Write as _;

use serde_json::Value;

use super::{World, describe_plan, describe_status, manifest};
use crate::framework::Framework;

/// A world and the tale of it, for snapshots that people read.
pub struct Story {
    /// The world.
    pub world: World,
    /// What happened so far.
    pub tale: String,
    framework: &'static dyn Framework,
}

impl Story {
    /// A job with these replicas, its `spec` edited.
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
            tale: String::new(),
            framework,
        }
    }

    /// The same, once all its pods run.
    #[must_use]
    pub fn started(
        framework: &'static dyn Framework,
        replicas: &[(&str, u32)],
        edit: impl FnOnce(&mut Value),
    ) -> Self {
        let mut story = Self::new(framework, replicas, edit);
        story.when("applied", |_| {});
        story.when("all pods run", World::run_all);
        story
    }

    /// Something happens, then the operator does all there is to do.
    pub fn when(&mut self, what: &str, happens: impl FnOnce(&mut World)) -> &mut Self {
        happens(&mut self.world);
        let _ = writeln!(self.tale, "## {what}");
        for plan in self.world.settle(self.framework) {
            self.tale += &describe_plan(&plan);
        }
        let (pods, status) = (self.world.describe(), describe_status(&self.world.status()));
        let _ = writeln!(self.tale, "-> {pods}\n{status}");
        self
    }
}
