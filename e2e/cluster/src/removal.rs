//! Removal of folders with hundreds of thousands of files, as unpacked images are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

/// Each waits for the disk most of the time.
const THREADS: usize = 16;

#[derive(Default)]
struct Folders {
    waiting: Vec<PathBuf>,
    /// Number of folders that are being emptied.
    open: usize,
}

/// Removes a folder with all that is in it; links are not followed.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let folders = Mutex::new(Folders {
        waiting: vec![folder.to_owned()],
        open: 0,
    });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(folder) = next(&folders, &changed) {
                    // What goes wrong here does so again below, where it is told.
                    let below = empty(&folder).unwrap_or_default();
                    let mut folders = folders.lock().unwrap_or_else(PoisonError::into_inner);
                    folders.waiting.extend(below);
                    folders.open -= 1;
                    changed.notify_all();
                }
            });
        }
    });
    // Nothing but empty folders is left.
    fs::remove_dir_all(folder)
}

fn next(folders: &Mutex<Folders>, changed: &Condvar) -> Option<PathBuf> {
    let mut folders = folders.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(folder) = folders.waiting.pop() {
            folders.open += 1;
            return Some(folder);
        }
        if folders.open == 0 {
            return None;
        }
        folders = changed.wait(folders).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Removes the files of a folder; the folders in it.
fn empty(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut below = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            below.push(entry.path());
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_goes_but_what_a_link_leads_to() {
        let root = std::env::temp_dir().join(format!("removal-{}", std::process::id()));
        let (kept, gone) = (root.join("kept"), root.join("gone"));
        for folder in [&kept, &gone.join("a/b/c"), &gone.join("d")] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("file"), "text").unwrap();
        }
        std::os::unix::fs::symlink(&kept, gone.join("a/link")).unwrap();
        remove(&gone).unwrap();
        assert!(!gone.exists() && kept.join("file").exists());
        assert!(remove(&gone).is_err());
        fs::remove_dir_all(root).unwrap();
    }
}
