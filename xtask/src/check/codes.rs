//! Every error code has a page in `docs/errors/`, and every page a code.
//!
//! Codes are found in the text of the runtime and the services: the first argument of `Failure::permanent`, `transient` and
//! `infrastructure`, and every text in a function named `code`. The codes of HTTP problems are an enum of crate `contract`,
//! whose own test looks for their pages.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context as _;

use super::crates::Member;

/// Crates whose codes an operator meets.
const CRATES: &[&str] = &["kafka", "order-service", "inventory-service", "payment-service", "api-gateway"];

#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Codes in use: code and the file that first uses it.
    codes: Vec<(String, String)>,
    /// Names of the pages in `docs/errors`.
    pages: BTreeSet<String>,
    /// Pages whose name stands in no source file as a text of its own.
    orphans: Vec<String>,
}

pub(super) fn read(root: &Path, members: &[Member]) -> anyhow::Result<Sources> {
    let mut found = Sources::default();
    for entry in fs::read_dir(root.join("docs/errors")).context("list docs/errors")? {
        let path = entry.context("list docs/errors")?.path();
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "README") {
            found.pages.insert(stem.to_owned());
        }
    }
    let mut orphans = found.pages.clone();
    for member in members {
        for file in super::sources(&member.folder.join("src"))? {
            let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            orphans.retain(|page| !text.contains(&format!("\"{page}\"")));
            if CRATES.contains(&member.name.as_str()) {
                let place = file.strip_prefix(root).unwrap_or(&file).display().to_string();
                found.codes.extend(codes_in(&text).into_iter().map(|code| (code, place.clone())));
            }
        }
    }
    found.codes.sort_unstable();
    found.codes.dedup_by(|a, b| a.0 == b.0);
    found.orphans = orphans.into_iter().collect();
    Ok(found)
}

pub(super) fn faults(found: &Sources) -> Vec<String> {
    let missing = found.codes.iter().filter(|(code, _)| !found.pages.contains(code));
    let missing = missing.map(|(code, file)| format!("{file}: error code {code} has no page; write docs/errors/{code}.md"));
    let orphans = found.orphans.iter().map(|page| format!("docs/errors/{page}.md: no source file has this code; remove the page"));
    missing.chain(orphans).collect()
}

fn codes_in(text: &str) -> Vec<String> {
    // Tests stand last in a file and make up codes as they like.
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut codes = Vec::new();
    for call in ["permanent(", "transient(", "infrastructure("] {
        codes.extend(text.split(call).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()));
    }
    for body in text.split("fn code(&self) -> &'static str {").skip(1).filter_map(|rest| rest.split("\n    }\n").next()) {
        codes.extend(body.split('"').skip(1).step_by(2));
    }
    codes
        .into_iter()
        .filter(|code| !code.is_empty() && code.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_where_they_are_given() {
        let text = r#"
            Failure::permanent("bad_header", format!("text"));
            Failure::infrastructure(
                "no_broker",
                "text",
            );
            Failure::permanent(code, "text");
            pub fn code(&self) -> &'static str {
                match self { Self::A => "first", Self::B => "second" }
    }
#[cfg(test)]
            Failure::permanent("made_up", "text");
        "#;
        assert_eq!(codes_in(text), ["bad_header", "no_broker", "first", "second"]);
    }

    #[test]
    fn a_code_without_a_page_and_a_page_without_a_code_are_named() {
        let found = Sources {
            codes: vec![("bad_header".to_owned(), "kafka/src/message.rs".to_owned())],
            pages: BTreeSet::from(["other".to_owned()]),
            orphans: vec!["other".to_owned()],
        };
        assert_eq!(
            faults(&found),
            [
                "kafka/src/message.rs: error code bad_header has no page; write docs/errors/bad_header.md",
                "docs/errors/other.md: no source file has this code; remove the page"
            ]
        );
    }
}
