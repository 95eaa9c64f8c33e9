//! Layers made of files at hand. Owners are root and times are zero, so that equal content gives an equal digest.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::archive::Layer;
use crate::command::{command, find, output};

/// One entry of a layer; paths have no leading slash.
pub(super) enum Entry<'a> {
    Folder(&'a str, u32),
    File(&'a str, u32, &'a [u8]),
    Link(&'a str, &'a str),
}

/// Puts entries into a layer.
pub(super) fn of_entries(entries: &[Entry<'_>]) -> Result<Layer> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        match *entry {
            Entry::Folder(path, mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(mode);
                header.set_size(0);
                tar.append_data(&mut header, path, std::io::empty())?;
            }
            Entry::File(path, mode, content) => {
                header.set_mode(mode);
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, path, content)?;
            }
            Entry::Link(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                tar.append_link(&mut header, path, target)?;
            }
        }
    }
    Ok(Layer::Bytes(tar.into_inner()?))
}

/// A root filesystem of busybox and links to some of its applets.
pub(super) fn of_busybox(program: &[u8], applets: &[&str]) -> Result<Layer> {
    if is_dynamic(program) {
        bail!("busybox is not static; install busybox-static");
    }
    let links: Vec<_> = applets
        .iter()
        .filter(|name| **name != "busybox")
        .map(|name| format!("bin/{name}"))
        .collect();
    let mut entries = vec![
        Entry::Folder("bin", 0o755),
        Entry::Folder("etc", 0o755),
        Entry::Folder("tmp", 0o1777),
        Entry::File("bin/busybox", 0o755, program),
        Entry::File(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        ),
        Entry::File("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n"),
    ];
    entries.extend(links.iter().map(|path| Entry::Link(path, "busybox")));
    of_entries(&entries)
}

/// Where busybox is.
pub(super) fn busybox() -> Result<PathBuf> {
    find("busybox").context("busybox is not on PATH")
}

/// The names of all applets of the installed busybox.
pub(super) fn applets() -> Result<Vec<String>> {
    let names = output(&mut command(busybox()?, &["--list"]))?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// Whether a program needs a dynamic loader.
pub(super) fn is_dynamic(program: &[u8]) -> bool {
    // The loader's path is near the start, where linkers put the section that names it.
    let head = program.get(..program.len().min(4096)).unwrap_or_default();
    [b"/ld-linux".as_slice(), b"/ld-musl"]
        .iter()
        .any(|loader| head.windows(loader.len()).any(|part| part == *loader))
}

/// The files of a folder with one of these endings, sorted by name.
pub(super) fn files(folder: &Path, ending: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == ending) {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            found.push((name, std::fs::read(&path)?));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_entries_make_the_same_layer() {
        let make = || match of_entries(&[Entry::Folder("a", 0o755), Entry::File("a/b", 0o644, b"c")]).unwrap()
        {
            Layer::Bytes(bytes) => bytes,
            Layer::File(..) => unreachable!("small layers are kept in memory"),
        };
        assert_eq!(make(), make());
    }

    #[test]
    fn loader_path_gives_a_dynamic_program_away() {
        assert!(is_dynamic(b"\x7fELF....../lib64/ld-linux-x86-64.so.2"));
        assert!(!is_dynamic(b"\x7fELF......"));
    }
}
