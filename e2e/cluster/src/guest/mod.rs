//! Programs of other projects that can run beside the cluster's own, as processes on the node's address.
//!
//! Invariant: a guest is in the cluster's record before anything waits for it, so that taking the cluster down ends it.

mod kueue;
mod room;
mod scheduler_plugins;

use std::fs;

use anyhow::Result;

pub use room::Guest;

use self::room::Room;
use crate::command::{output, require_root};
use crate::handle::Cluster;
use crate::lifecycle::lock;
use crate::progress::Progress;

impl Cluster {
    /// Starts a guest and waits until it answers; nothing to do when it runs.
    ///
    /// # Errors
    /// Without root, when its program cannot be built, or when it does not answer (its log is named).
    pub fn add(&self, guest: Guest, progress: Progress) -> Result<()> {
        require_root("the local cluster")?;
        let toolchain = guest.build(progress)?;
        let _lock = lock(progress)?;
        let room = Room::of(self, guest)?;
        if room.alive() {
            return Ok(());
        }
        let step = progress.step(&format!("starting {}", guest.name()));
        let mut start = match guest {
            Guest::Kueue => kueue::prepare(&room, &toolchain, progress)?,
            Guest::SchedulerPlugins => scheduler_plugins::prepare(&room, &toolchain)?,
        };
        room.spawn(&mut start)?;
        room.await_that(|| match guest {
            Guest::Kueue => kueue::answers(&room),
            Guest::SchedulerPlugins => scheduler_plugins::answers(&room),
        })?;
        step.done();
        Ok(())
    }

    /// Ends a guest and removes what was installed for it; nothing to do when it was never added.
    ///
    /// # Errors
    /// Without root, or when the cluster refuses.
    pub fn dismiss(&self, guest: Guest, progress: Progress) -> Result<()> {
        require_root("the local cluster")?;
        let _lock = lock(progress)?;
        let room = Room::of(self, guest)?;
        if !room.objects().exists() {
            return Ok(());
        }
        let step = progress.step(&format!("removing {}", guest.name()));
        if guest == Guest::Kueue {
            kueue::farewell(&room)?;
        }
        room.end()?;
        output(
            room.kubectl(&["delete", "--ignore-not-found", "-f"])?
                .arg(room.objects()),
        )?;
        fs::remove_file(room.objects())?;
        step.done();
        Ok(())
    }

    /// Whether a guest runs.
    #[must_use]
    pub fn has(&self, guest: Guest) -> bool {
        Room::of(self, guest).is_ok_and(|room| room.alive())
    }
}
