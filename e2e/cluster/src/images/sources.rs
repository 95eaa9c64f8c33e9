//! Where Debian packages come from: this machine's own package sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::recipe::SUITES;

/// This machine's sources for a suite, as files for mmdebstrap in a folder. A Debian machine of another suite serves
/// too, as mirrors hold them all. None on another distribution, where mmdebstrap falls back to its default.
pub(super) fn mirrors(suite: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.to_string_lossy().contains(' ') {
        bail!("the cache folder must not have blanks in its path");
    }
    fs::create_dir_all(folder)?;
    let files = listed();
    let others = SUITES.map(|other| other.name);
    for installed in std::iter::once(suite).chain(others) {
        let kept: Vec<_> = files
            .iter()
            .filter_map(|(path, text)| {
                let text = if path.extension().is_some_and(|extension| extension == "sources") {
                    stanzas_of(installed, suite, text)
                } else {
                    lines_of(installed, suite, text)
                };
                (!text.is_empty()).then_some((folder.join(path.file_name()?), text))
            })
            .collect();
        if !kept.is_empty() {
            for (copy, text) in &kept {
                fs::write(copy, format!("{text}\n"))?;
            }
            return Ok(kept.into_iter().map(|(copy, _)| copy).collect());
        }
    }
    Ok(Vec::new())
}

/// apt's lists of sources, with their text.
fn listed() -> Vec<(PathBuf, String)> {
    let mut paths = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        paths.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    paths.sort();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "list" || extension == "sources")
    });
    paths
        .into_iter()
        .filter_map(|path| fs::read_to_string(&path).ok().map(|text| (path, text)))
        .collect()
}

/// The name of a suite, or of its updates, with another suite in its place.
fn renamed(word: &str, from: &str, to: &str) -> Option<String> {
    let rest = word.strip_prefix(from)?;
    matches!(rest, "" | "-updates" | "-security").then(|| format!("{to}{rest}"))
}

/// A text with all names of one suite renamed; nothing if it holds none.
fn renamed_all(text: &str, from: &str, to: &str) -> Option<String> {
    let words = text.split(' ').map(|word| renamed(word, from, to));
    words.clone().any(|word| word.is_some()).then(|| {
        let both = text.split(' ').zip(words);
        both.map(|(old, new)| new.unwrap_or_else(|| old.to_owned()))
            .collect::<Vec<_>>()
            .join(" ")
    })
}

fn stanzas_of(from: &str, to: &str, text: &str) -> String {
    let stanzas = text.split("\n\n").filter_map(|stanza| {
        let suites = stanza.lines().find(|line| line.starts_with("Suites:"))?;
        Some(stanza.trim().replace(suites, &renamed_all(suites, from, to)?))
    });
    stanzas.collect::<Vec<_>>().join("\n\n")
}

fn lines_of(from: &str, to: &str, text: &str) -> String {
    let lines = text.lines().filter(|line| line.starts_with("deb "));
    lines
        .filter_map(|line| renamed_all(line, from, to))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\n\n\
        Types: deb\nURIs: http://x\nSuites: nodistro\n";
    const LINES: &str =
        "deb http://m bookworm main\ndeb-src http://m bookworm main\ndeb http://x cloud-bookworm main\n";

    #[test]
    fn foreign_sources_are_left_out() {
        let stanzas = stanzas_of("bookworm", "bookworm", STANZAS);
        assert_eq!(stanzas.matches("Suites:").count(), 1);
        assert_eq!(
            lines_of("bookworm", "bookworm", LINES),
            "deb http://m bookworm main"
        );
        assert_eq!(stanzas_of("trixie", "trixie", STANZAS), "");
    }

    #[test]
    fn sources_serve_for_another_suite() {
        let stanzas = stanzas_of("bookworm", "trixie", STANZAS);
        assert!(stanzas.ends_with("Suites: trixie trixie-updates"), "{stanzas}");
        assert_eq!(lines_of("bookworm", "trixie", LINES), "deb http://m trixie main");
    }
}
