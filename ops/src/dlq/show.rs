use operation::{Body, LetterDetail};
use serde_json::Value;

use crate::client::{Error, Services};
use crate::exit::Exit;
use crate::output::{Output, or_dash, plain};

pub(super) async fn run(letter: &str, services: &Services, output: &mut Output) -> Result<Exit, Error> {
    let (service, id) = services.letter(letter)?;
    let detail: LetterDetail = service.get(&format!("/ops/letters/{id}"), &[]).await?;
    output.one(&detail, text)?;
    Ok(Exit::Done)
}

fn text(detail: &LetterDetail) -> String {
    let letter = &detail.letter;
    let instant = |at: Option<jiff::Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let rows = [
        ("letter", format!("{}/{}", detail.group, letter.id)),
        ("state", format!("{}, {} ({} wait behind it)", letter.state, letter.policy, detail.waiting)),
        ("record", or_dash(letter.record.as_deref())),
        ("step", or_dash(letter.step.as_deref())),
        ("key", letter.key.to_string()),
        ("message id", letter.message_id.clone()),
        ("story", letter.correlation.clone()),
        ("came from", format!("{} partition {} offset {}", letter.topic, letter.partition, letter.offset)),
        ("tries", format!("{}, sent back {} times", letter.attempt, letter.redrive_no)),
        ("first failed", instant(letter.first_failure_at)),
        ("last failed", instant(letter.last_failure_at)),
        ("due", instant(letter.due_at)),
        ("error", format!("{} {}", or_dash(letter.class.as_deref()), or_dash(letter.code.as_deref()))),
        ("", or_dash(letter.error.as_deref())),
        ("fingerprint", or_dash(letter.fingerprint.as_deref())),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        line(&mut text, &format!("{name:<13} {}", plain(&value)));
    }
    line(&mut text, "headers");
    for header in &detail.headers {
        line(&mut text, &format!("  {}: {}", plain(&header.name), plain(&header.value)));
    }
    body(&mut text, &detail.body);
    if !detail.decisions.is_empty() {
        line(&mut text, "decisions");
    }
    for decision in &detail.decisions {
        let what = format!("  {} {} by {}: {}", decision.at, decision.decision, plain(&decision.who), plain(&decision.why));
        line(&mut text, &what);
    }
    text
}

fn body(text: &mut String, body: &Body) {
    match body {
        Body::Null => line(text, "body          none: the record had no value"),
        Body::Decoded { schema_id, record, json } => {
            line(text, &format!("body          {record}, schema id {schema_id}"));
            line(text, &pretty(json));
        }
        Body::Request { json } => {
            line(text, "body          the request of a call to the outside");
            line(text, &pretty(json));
        }
        Body::Undecodable { hex, bytes, reason } => {
            line(text, &format!("body          {bytes} bytes, not decodable: {}", plain(reason)));
            let digits: Vec<char> = hex.chars().collect();
            for row in digits.chunks(64) {
                line(text, &format!("  {}", row.iter().collect::<String>()));
            }
        }
    }
}

/// Values of JSON have their control characters escaped already.
fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}
