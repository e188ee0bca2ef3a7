//! The schemas against `compat/`, where every version ever registered is kept.

use std::{collections::BTreeSet, fs, path::PathBuf};

use schemas::{RECORDS, compat};

fn compat_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat")
}

/// The frozen versions of a subject, oldest first.
fn frozen(subject: &str) -> Vec<(u32, String)> {
    let read = |version: u32| fs::read_to_string(compat_folder().join(subject).join(format!("v{version}.avsc")));
    (1..).map_while(|version| Some((version, read(version).ok()?))).collect()
}

#[test]
fn the_schemas_are_fully_compatible_with_every_frozen_version() {
    for entry in RECORDS {
        compat::check(&entry.subject(), entry.schema, &frozen(&entry.subject())).unwrap();
    }
}

#[test]
fn the_newest_frozen_version_is_the_schema() {
    for entry in RECORDS {
        let subject = entry.subject();
        let newest = frozen(&subject).pop().map(|(_, json)| json).unwrap_or_default();
        assert!(
            compat::same(&newest, entry.schema),
            "{subject} changed or is new: run `cargo xtask schemas freeze` and commit schemas/compat"
        );
    }
}

#[test]
fn a_published_record_is_never_dropped() {
    let known: BTreeSet<_> = RECORDS.iter().map(schemas::Entry::subject).collect();
    for folder in fs::read_dir(compat_folder()).unwrap() {
        let folder = folder.unwrap();
        let subject = folder.file_name().into_string().unwrap();
        assert!(known.contains(&subject), "{subject} is frozen, so its schema must stay on its topic");
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, frozen(&subject).len(), "{subject}: files are v1.avsc, v2.avsc, … without a gap");
    }
}
