//! Tiers of crates: arrows only go down, services never meet, domain crates reach no IO; every crate takes lints and
//! dependency versions from the workspace.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Each crate and the crates of ours it may import. DESIGN: domain crates import only `values` and `saga`; `kafka` knows no
/// domain; services never import each other.
const TIERS: &[(&str, &[&str])] = &[
    ("values", &[]),
    ("record", &[]),
    ("saga", &[]),
    ("operation", &[]),
    ("trace", &[]),
    ("schemas", &["record", "values"]),
    ("kafka", &["record", "saga", "operation", "trace"]),
    ("contract", &["values"]),
    ("identity", &["values", "contract", "operation"]),
    ("order-domain", &["values", "saga"]),
    ("inventory-domain", &["values", "saga"]),
    ("payment-domain", &["values", "saga"]),
    ("order-service", &["values", "record", "saga", "operation", "schemas", "kafka", "trace", "contract", "identity", "order-domain"]),
    ("inventory-service", &["values", "record", "saga", "schemas", "kafka", "trace", "contract", "identity", "inventory-domain"]),
    ("payment-service", &["values", "record", "saga", "schemas", "kafka", "trace", "contract", "identity", "payment-domain"]),
    ("api-gateway", &["values", "contract", "identity", "trace"]),
    ("ops", &["operation"]),
    ("edge", &["record", "schemas", "kafka"]),
    ("stack", &["values", "record", "schemas"]),
    ("it", &["values", "record", "saga", "operation", "schemas", "kafka", "contract", "ops", "stack"]),
    ("models", &["kafka"]),
    ("bench", &["values", "record", "saga", "schemas", "kafka", "contract", "stack", "it"]),
    ("xtask", &["record", "schemas"]),
];

/// Crates that decide and never do: no runtime, database, broker, clock or randomness can be reached from them.
const PURE: &[&str] = &["values", "record", "saga", "order-domain", "inventory-domain", "payment-domain"];

/// All that a pure crate may take from elsewhere.
const PURE_EXTERNAL: &[&str] = &["serde", "serde_json", "thiserror", "uuid", "murmur2"];

/// One crate of the workspace, as its manifest says.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    manifest: String,
    /// Names of dependencies, except of tests.
    dependencies: Vec<String>,
    /// Names of dependencies of tests, examples and benches only.
    test_dependencies: Vec<String>,
}

/// Asks cargo for the members and reads their manifests.
pub(super) fn read(root: &Path) -> anyhow::Result<Vec<Member>> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("parse cargo metadata")?;
    list(&metadata, "packages").map(member).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, key: &str) -> anyhow::Result<String> {
    Ok(value.get(key).and_then(Value::as_str).with_context(|| format!("cargo metadata has no {key}"))?.to_owned())
}

fn member(package: &Value) -> anyhow::Result<Member> {
    let path = PathBuf::from(text(package, "manifest_path")?);
    let manifest = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let folder = path.parent().context("a manifest has a folder")?.to_owned();
    let mut member = Member { name: text(package, "name")?, folder, manifest, ..Member::default() };
    for dependency in list(package, "dependencies") {
        let of_tests = dependency.get("kind").and_then(Value::as_str) == Some("dev");
        let names = if of_tests { &mut member.test_dependencies } else { &mut member.dependencies };
        names.push(text(dependency, "name")?);
    }
    Ok(member)
}

pub(super) fn faults(members: &[Member]) -> Vec<String> {
    members.iter().flat_map(|member| manifest_faults(member).into_iter().chain(tier_faults(member))).collect()
}

fn tier_faults(member: &Member) -> Vec<String> {
    let name = &member.name;
    let Some((_, allowed)) = TIERS.iter().find(|(tier, _)| tier == name) else {
        return vec![format!("{name}: has no tier; add it to TIERS in xtask/src/check/crates.rs")];
    };
    let ours = |dependency: &str| TIERS.iter().any(|(tier, _)| *tier == dependency);
    let pure = PURE.contains(&name.as_str());
    let mut faults = Vec::new();
    for dependency in &member.dependencies {
        if ours(dependency) && !allowed.contains(&dependency.as_str()) {
            faults.push(format!("{name}: must not import {dependency}; its tier allows {allowed:?}"));
        }
        if pure && !ours(dependency) && !PURE_EXTERNAL.contains(&dependency.as_str()) {
            faults.push(format!("{name}: is pure and must not import {dependency}; allowed are {PURE_EXTERNAL:?}"));
        }
    }
    for dependency in &member.test_dependencies {
        // Tests of a crate that does IO may start the real parts.
        let stack = dependency == "stack" && !pure;
        if ours(dependency) && !stack && !allowed.contains(&dependency.as_str()) {
            faults.push(format!("{name}: its tests must not import {dependency}; its tier allows {allowed:?}"));
        }
    }
    faults
}

fn manifest_faults(member: &Member) -> Vec<String> {
    let name = &member.name;
    let mut faults = Vec::new();
    if !member.manifest.contains("[lints]\nworkspace = true\n") {
        faults.push(format!("{name}: its manifest must say `[lints]`, `workspace = true`"));
    }
    let mut dependencies = false;
    for line in member.manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            dependencies = line.ends_with("dependencies]");
        } else if dependencies && line.contains('=') && !line.starts_with('#') && !line.contains("workspace = true") {
            faults.push(format!("{name}: `{line}` must take its version from [workspace.dependencies]"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, dependencies: &[&str], test_dependencies: &[&str]) -> Member {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Member {
            name: name.to_owned(),
            manifest: "[lints]\nworkspace = true\n".to_owned(),
            dependencies: names(dependencies),
            test_dependencies: names(test_dependencies),
            ..Member::default()
        }
    }

    #[test]
    fn what_points_down_is_fine() {
        let members = [
            member("order-domain", &["values", "saga", "serde"], &["proptest", "serde_json"]),
            member("order-service", &["order-domain", "kafka", "trace", "schemas", "sqlx"], &["stack"]),
            member("kafka", &["record", "saga", "rdkafka"], &["stack"]),
        ];
        assert_eq!(faults(&members), Vec::<String>::new());
    }

    #[test]
    fn what_points_up_or_sideways_is_named() {
        for (name, dependency) in [
            ("order-service", "inventory-service"),
            ("order-service", "payment-domain"),
            ("kafka", "schemas"),
            ("kafka", "order-domain"),
            ("order-domain", "schemas"),
            ("payment-domain", "tokio"),
            ("stack", "order-service"),
        ] {
            let faults = faults(&[member(name, &[dependency], &[])]);
            assert!(faults.len() == 1 && faults[0].starts_with(&format!("{name}: ")) && faults[0].contains(dependency), "{faults:?}");
        }
        assert_eq!(faults(&[member("order-domain", &[], &["stack"])]).len(), 1);
        assert_eq!(faults(&[member("newcomer", &[], &[])]).len(), 1);
    }

    #[test]
    fn a_manifest_with_rules_of_its_own_is_named() {
        let mut own_lints = member("values", &[], &[]);
        own_lints.manifest = "[dependencies]\nserde.workspace = true\n".to_owned();
        assert_eq!(faults(&[own_lints]).len(), 1);
        let mut own_version = member("values", &[], &[]);
        own_version.manifest.push_str("[dev-dependencies]\n# why\nproptest = \"1\"\nserde = { workspace = true }\n");
        assert!(faults(&[own_version])[0].contains("proptest"));
    }
}
