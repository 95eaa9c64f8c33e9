//! The list of breakages.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Where it is.
const LIST: &str = "crates/sim/breakages.yaml";

/// One bug, and the test that must see it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Breakage {
    /// In a few words.
    pub(super) name: String,
    /// In a sentence.
    pub(super) what: String,
    /// The file that is changed, from the top of the checkout.
    pub(super) file: String,
    /// What is replaced; it occurs once in the file.
    from: String,
    /// What comes in its place.
    to: String,
    /// The crate with the test.
    pub(super) package: String,
    /// The program that it is in: `tests`, or `lib`.
    pub(super) target: String,
    /// The whole name of the test.
    pub(super) test: String,
    /// Environment of the test.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
}

impl Breakage {
    /// The text of the file with the bug in it.
    pub(super) fn applied(&self, text: &str) -> Result<String> {
        let times = text.matches(&self.from).count();
        ensure!(
            times == 1,
            "{}: {} holds {times} times what it replaces, not once",
            self.name,
            self.file
        );
        ensure!(self.from != self.to, "{}: it changes nothing", self.name);
        Ok(text.replacen(&self.from, &self.to, 1))
    }
}

/// Reads the list of a checkout.
pub(super) fn read(root: &Path) -> Result<Vec<Breakage>> {
    let text = fs::read_to_string(root.join(LIST)).context(LIST)?;
    serde_saphyr::from_str(&text).context(LIST)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;
    use crate::stage::root;

    /// Files that may hold a test: the first part of its name is a file or a folder, the second a file in it.
    fn sources(breakage: &Breakage) -> Vec<PathBuf> {
        let package = root().join("crates").join(&breakage.package);
        let mut modules = breakage.test.split("::");
        let (first, second) = (modules.next().unwrap(), modules.next().unwrap());
        let folder = package.join(if breakage.target == "lib" { "src" } else { "tests" });
        let below = folder.join(first);
        vec![
            below.with_extension("rs"),
            below.join("mod.rs"),
            below.join(second).with_extension("rs"),
        ]
    }

    /// Otherwise the list would rot without anybody's notice until it is tried.
    #[test]
    fn every_breakage_can_be_applied_and_its_test_exists() {
        let breakages = read(root()).unwrap();
        let names: BTreeSet<&str> = breakages.iter().map(|breakage| &*breakage.name).collect();
        assert_eq!(names.len(), breakages.len(), "two breakages of one name");
        for breakage in &breakages {
            let text = fs::read_to_string(root().join(&breakage.file)).unwrap();
            breakage.applied(&text).unwrap();
            let function = format!("fn {}(", breakage.test.rsplit("::").next().unwrap());
            let found = sources(breakage)
                .iter()
                .any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(&function)));
            assert!(found, "{}: there is no test {}", breakage.name, breakage.test);
        }
    }

    #[test]
    fn what_occurs_twice_or_changes_nothing_is_refused() {
        let breakage = Breakage {
            name: "b".to_owned(),
            what: String::new(),
            file: "f".to_owned(),
            from: "one".to_owned(),
            to: "two".to_owned(),
            package: String::new(),
            target: String::new(),
            test: String::new(),
            env: BTreeMap::new(),
        };
        assert_eq!(breakage.applied("a one b").unwrap(), "a two b");
        assert!(breakage.applied("one one").is_err());
        assert!(breakage.applied("two").is_err());
        let idle = Breakage {
            to: "one".to_owned(),
            ..breakage
        };
        assert!(idle.applied("one").is_err());
    }
}
