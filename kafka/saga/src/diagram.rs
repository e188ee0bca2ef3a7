//! A definition as a picture.

use crate::definition::{Definition, Kind, SentBy, Step};

impl Definition {
    /// The saga as a Mermaid flowchart: steps in order, what sends them, what undoes them. Ends with a line feed.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut lines = vec!["flowchart TD".to_owned(), format!("    start([\"{} v{}\"])", self.name(), self.shape_version())];
        let mut previous = "start";
        for step in self.steps() {
            lines.push(node(step));
            match step.sent_by {
                SentBy::Command(_) => {
                    lines.push(format!("    {previous} --> {}", step.name));
                    previous = step.name;
                }
                SentBy::Event(_) => lines.push(format!("    start -. triggers .-> {}", step.name)),
            }
            if let Some(compensation) = step.compensation {
                lines.push(format!("    undo_{0}[/\"{1}\"/]", step.name, compensation.command));
                lines.push(format!("    {0} -. undone by .-> undo_{0}", step.name));
            }
            if let Some(undo) = step.undone_by() {
                lines.push(format!("    {} -. in doubt .-> undo_{undo}", step.name));
            }
        }
        lines.push(format!("    {previous} --> confirmed([\"confirmed\"])\n"));
        lines.join("\n")
    }
}

fn node(step: &Step) -> String {
    let what = match step.sent_by {
        SentBy::Command(command) => command.to_owned(),
        SentBy::Event(event) => format!("on {event}"),
    };
    match step.kind {
        Kind::Compensatable => format!("    {0}[\"{0}<br/>{what}\"]", step.name),
        Kind::Pivot { .. } => format!("    {0}{{{{\"{0} (pivot)<br/>{what}\"}}}}", step.name),
        Kind::Retriable => format!("    {0}[\"{0} (retried)<br/>{what}\"]", step.name),
    }
}
