//! `cargo xtask sbom`: what the operator's binary is made of, as CycloneDX 1.6 in JSON.
//!
//! Which packages: those that cargo compiles into the binary on Linux, macros among them (`cargo tree`, which knows the
//! features that are on). Their licences and edges are those of `cargo metadata`, their checksums those of Cargo.lock. No time
//! and no serial number: the same sources give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::stage::{cargo, root};

/// The package that the binary is made of.
const PACKAGE: &str = "operator";
/// For which its dependencies are listed.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Arguments.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct Args {
    /// File that it is written to; standard output if absent.
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
}

/// Name and version.
type Id = (String, String);

/// Runs the command.
#[expect(clippy::print_stdout, reason = "the document is what the user asked for")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let text = checked()?;
    let Some(path) = &args.output else {
        print!("{text}");
        return Ok(());
    };
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// The stage: it can be made, says all it must, and is the same when it is made again.
#[expect(clippy::print_stdout, reason = "the figures are what the user asked for")]
pub(crate) fn check() -> Result<()> {
    let text = checked()?;
    ensure!(text == checked()?, "it is not the same when it is made again");
    println!("{} packages", ids(&serde_json::from_str(&text)?).len());
    Ok(())
}

fn checked() -> Result<String> {
    let tree = tree()?;
    let document = document(
        &tree,
        &metadata()?,
        &fs::read_to_string(root().join("Cargo.lock"))?,
    )?;
    let problems = problems(&document, &tree);
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(format!("{}\n", serde_json::to_string_pretty(&document)?))
}

/// What cargo compiles into the binary.
fn tree() -> Result<BTreeSet<Id>> {
    let args = [
        "--package",
        PACKAGE,
        "--edges",
        "normal",
        "--target",
        TARGET,
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--locked",
    ];
    let lines = output("tree", &args)?;
    let id = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some((name.to_owned(), version.to_owned()))
    };
    lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| id(line).context(line.to_owned()))
        .collect()
}

fn metadata() -> Result<Value> {
    let args = ["--format-version", "1", "--locked", "--filter-platform", TARGET];
    Ok(serde_json::from_str(&output("metadata", &args)?)?)
}

fn output(verb: &str, args: &[&str]) -> Result<String> {
    let output = cargo(verb, args).output().context("starting cargo")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo {verb}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Checksums of Cargo.lock, which is TOML of a simple form.
fn checksums(lock: &str) -> BTreeMap<Id, String> {
    let mut found = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let field = |name: &str| {
            let value = package
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
            Some(value.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) = (field("name"), field("version"), field("checksum")) {
            found.insert((name, version), sum);
        }
    }
    found
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn purl((name, version): &Id) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// The document.
fn document(tree: &BTreeSet<Id>, metadata: &Value, lock: &str) -> Result<Value> {
    let sums = checksums(lock);
    let id = |package: &Value| {
        (
            text(package, "name").to_owned(),
            text(package, "version").to_owned(),
        )
    };
    let packages = list(metadata, "/packages");
    let by_key: BTreeMap<&str, Id> = packages.iter().map(|p| (text(p, "id"), id(p))).collect();
    let by_id: BTreeMap<Id, &Value> = packages.iter().map(|p| (id(p), p)).collect();
    let mut edges: BTreeMap<&Id, BTreeSet<String>> = BTreeMap::new();
    for node in list(metadata, "/resolve/nodes") {
        let Some(from) = by_key.get(text(node, "id")).filter(|id| tree.contains(*id)) else {
            continue;
        };
        let linked = list(node, "/deps").iter().filter(|dep| {
            list(dep, "/dep_kinds")
                .iter()
                .any(|kind| kind.get("kind").is_none_or(Value::is_null))
        });
        let to = linked
            .filter_map(|dep| by_key.get(text(dep, "pkg")))
            .filter(|id| tree.contains(*id));
        edges.entry(from).or_default().extend(to.map(purl));
    }
    let component = |id: &Id| {
        let package = by_id
            .get(id)
            .with_context(|| format!("cargo metadata knows no {} {}", id.0, id.1))?;
        let mut component = json!({
            "type": if id.0 == PACKAGE { "application" } else { "library" },
            "bom-ref": purl(id),
            "name": id.0,
            "version": id.1,
            "purl": purl(id),
            "licenses": [{ "expression": text(package, "license").replace('/', " OR ") }],
        });
        if let (Some(sum), Some(fields)) = (sums.get(id), component.as_object_mut()) {
            fields.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": sum }]));
        }
        anyhow::Ok(component)
    };
    let (own, others): (Vec<&Id>, Vec<&Id>) = tree.iter().partition(|(name, _)| name == PACKAGE);
    let own = own.first().context("the operator is not among its packages")?;
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": component(own)? },
        "components": others.into_iter().map(component).collect::<Result<Vec<_>>>()?,
        "dependencies": edges
            .into_iter()
            .map(|(from, to)| json!({ "ref": purl(from), "dependsOn": to }))
            .collect::<Vec<_>>(),
    }))
}

/// Packages in a document.
fn ids(document: &Value) -> BTreeSet<Id> {
    let own = document.pointer("/metadata/component").into_iter();
    own.chain(list(document, "/components"))
        .map(|c| (text(c, "name").to_owned(), text(c, "version").to_owned()))
        .collect()
}

/// What a document lacks, or says without need.
fn problems(document: &Value, tree: &BTreeSet<Id>) -> Vec<String> {
    let found = ids(document);
    let mut problems: Vec<String> = tree
        .symmetric_difference(&found)
        .map(|(name, version)| format!("{name} {version} is in one of the binary and the document only"))
        .collect();
    for component in list(document, "/components") {
        let licence = component
            .pointer("/licenses/0/expression")
            .and_then(Value::as_str);
        if licence.is_none_or(str::is_empty) {
            problems.push(format!("{} has no licence", text(component, "name")));
        }
    }
    let whole = document.to_string();
    for private in ["://", &*root().display().to_string()] {
        if whole.contains(private) {
            problems.push(format!("it names a host or a path: {private}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"x\"\nchecksum = \"abc\"\n\n[[package]]\nname = \"operator\"\nversion = \"0.1.0\"\n";

    fn id(name: &str, version: &str) -> Id {
        (name.to_owned(), version.to_owned())
    }

    fn packages() -> Value {
        let dep = |pkg: &str, kind: Value| json!({"pkg": pkg, "dep_kinds": [{"kind": kind}]});
        json!({
            "packages": [
                {"id": "1", "name": "operator", "version": "0.1.0", "license": "Apache-2.0"},
                {"id": "2", "name": "a", "version": "1.0.0", "license": "MIT/Apache-2.0"},
                {"id": "3", "name": "test-only", "version": "1.0.0", "license": "MIT"},
            ],
            "resolve": {"nodes": [
                {"id": "1", "deps": [dep("2", Value::Null), dep("3", json!("dev"))]},
                {"id": "2", "deps": []},
            ]},
        })
    }

    #[test]
    fn packages_have_licence_checksum_and_edges() {
        let tree = [id("operator", "0.1.0"), id("a", "1.0.0")].into();
        let made = document(&tree, &packages(), LOCK).unwrap();
        assert_eq!(problems(&made, &tree), [""; 0]);
        let a = &made["components"][0];
        assert_eq!(a["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(a["hashes"][0]["content"], "abc");
        let edges = json!([
            {"ref": "pkg:cargo/a@1.0.0", "dependsOn": []},
            {"ref": "pkg:cargo/operator@0.1.0", "dependsOn": ["pkg:cargo/a@1.0.0"]},
        ]);
        assert_eq!(made["dependencies"], edges);
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let tree: BTreeSet<Id> = [id("operator", "0.1.0"), id("a", "1.0.0")].into();
        let mut made = document(&tree, &packages(), LOCK).unwrap();
        made["components"][0]["licenses"][0]["expression"] = json!("");
        made["components"][0]["version"] = json!("1.0.1");
        made["components"][0]["url"] = json!("https://example.com");
        let wanted = [
            "a 1.0.0 is in one of the binary and the document only",
            "a 1.0.1 is in one of the binary and the document only",
            "a has no licence",
            "it names a host or a path: ://",
        ];
        assert_eq!(problems(&made, &tree), wanted);
    }
}
