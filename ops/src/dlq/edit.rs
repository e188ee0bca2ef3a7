use std::io::Read as _;

use anyhow::Context as _;
use operation::{Body, Edit, Edited, LetterDetail};
use serde_json::Value;

use super::{EditArgs, signed};
use crate::client::{Error, Services};
use crate::exit::Exit;
use crate::output::Output;

pub(super) async fn run(arguments: &EditArgs, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let (who, why) = signed(&arguments.signature)?;
    let (service, id) = services.letter(&arguments.letter)?;
    let detail: LetterDetail = service.get(&format!("/ops/letters/{id}"), &[]).await?;
    let body = match &arguments.body {
        Some(file) => read(file)?,
        None => set(&detail.body, &arguments.set)?,
    };
    let edit = Edit {
        who,
        why,
        redrive_no: detail.letter.redrive_no,
        body,
        record: arguments.record.clone(),
        execute: arguments.signature.execute,
    };
    let edited: Edited = service.post(&format!("/ops/letters/{id}/edit"), &edit).await?;
    output.one(&edited, text)?;
    if !edited.executed {
        output.note("this is the plan, nothing was sent; --execute --who … --why … sends it");
    }
    Ok(if edited.outcome == "done" { Exit::Done } else { Exit::Failed })
}

fn read(file: &str) -> Result<Value, Error> {
    let mut text = String::new();
    if file == "-" {
        std::io::stdin().read_to_string(&mut text).context("read the body from standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("read the body from {file}"))?;
    }
    serde_json::from_str(&text).map_err(|error| Error::Usage(format!("the body is no JSON: {error}")))
}

/// The letter's own body with some values replaced.
fn set(body: &Body, changes: &[String]) -> Result<Value, Error> {
    let Body::Decoded { json, .. } = body else {
        return Err(Error::Usage("the letter's bytes cannot be decoded: give the whole body with --body".to_owned()));
    };
    let mut json = json.clone();
    for change in changes {
        let (pointer, value) =
            change.split_once('=').ok_or_else(|| Error::Usage(format!("--set {change}: a JSON Pointer, =, and JSON are expected")))?;
        let value: Value =
            serde_json::from_str(value).map_err(|error| Error::Usage(format!("--set {change}: the value is no JSON: {error}")))?;
        let place = json.pointer_mut(pointer).ok_or_else(|| Error::Usage(format!("--set {change}: the body has nothing at {pointer}")))?;
        *place = value;
    }
    Ok(json)
}

fn text(edited: &Edited) -> String {
    let mut lines = Vec::new();
    differences(&edited.before, &edited.after, String::new(), &mut lines);
    let what = match (edited.executed, edited.outcome.as_str()) {
        (true, "done") => "sent back with another body".to_owned(),
        (false, "done") => "valid; it would be sent back with another body".to_owned(),
        (_, outcome) => format!("not sent: {outcome}"),
    };
    if lines.is_empty() {
        lines.push("  no difference".to_owned());
    }
    format!("{what}\n{}\n", lines.join("\n"))
}

/// Each place that differs, by its JSON Pointer.
fn differences(before: &Value, after: &Value, at: String, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let added = new.keys().filter(|name| !old.contains_key(*name));
            for name in old.keys().chain(added) {
                let (old, new) = (old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null));
                differences(old, new, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), lines);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differences(old, new, format!("{at}/{index}"), lines);
            }
        }
        (old, new) if old != new => lines.push(format!("  {}: {old} -> {new}", if at.is_empty() { "/" } else { &at })),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded() -> Body {
        Body::Decoded { schema_id: 1, record: "t.T".to_owned(), json: json!({"lines": [{"n": 1}], "a/b": null}) }
    }

    #[test]
    fn values_are_set_by_their_pointers() {
        let changed = set(&decoded(), &["/lines/0/n=2".to_owned(), "/a~1b=\"x=y\"".to_owned()]).unwrap();
        assert_eq!(changed, json!({"lines": [{"n": 2}], "a/b": "x=y"}));
        for wrong in ["/lines", "/lines/1/n=2", "/lines=x"] {
            assert!(set(&decoded(), &[wrong.to_owned()]).is_err(), "{wrong}");
        }
        assert!(set(&Body::Null, &[]).is_err());
    }

    #[test]
    fn an_edit_shows_what_differs() {
        let edited = |after| Edited { executed: true, outcome: "done".to_owned(), before: json!({"a": 1, "b": [1, {"c": null}]}), after };
        let told = text(&edited(json!({"a": 2, "b": [1, {"c": 3}], "d": true})));
        assert_eq!(told, "sent back with another body\n  /a: 1 -> 2\n  /b/1/c: null -> 3\n  /d: null -> true\n");
        assert_eq!(text(&edited(json!({"a": 1, "b": [1, {"c": null}]}))), "sent back with another body\n  no difference\n");
    }
}
