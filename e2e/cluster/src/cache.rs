//! The cache outside the checkout: built programs and images, shared by all checkouts of a user.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::progress::Progress;

/// `$TRAINYARD_CACHE`, or `trainyard` in the user's cache folder.
///
/// # Errors
/// When neither `TRAINYARD_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set.
pub fn folder() -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("TRAINYARD_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("trainyard")))
        .or_else(|| set("HOME").map(|path| path.join(".cache/trainyard")))
        .context("no cache folder: set TRAINYARD_CACHE or HOME")
}

/// An exclusive lock between processes; released when the returned file is dropped.
pub(crate) fn lock(folder: &Path, name: &str, progress: Progress) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        let step = progress.step(&format!(
            "waiting for another process that holds {}",
            path.display()
        ));
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
        step.done();
    }
    Ok(file)
}

/// A key over labelled contents: each part is framed by its length, so that no two lists share a key.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    for (label, content) in parts {
        for bytes in [label.as_bytes(), content] {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
    hex(&hash.finalize()).chars().take(16).collect()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn key_tells_where_one_part_ends() {
        assert_ne!(key([("a", b"bc".as_slice())]), key([("ab", b"c".as_slice())]));
        assert_eq!(key([("a", b"bc".as_slice())]), key([("a", b"bc".as_slice())]));
    }
}
