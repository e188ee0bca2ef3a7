// What all services know of one story, as one line of time.
import type { SagaDetail, Story } from "./api";

export type Kind = "event" | "call" | "retry" | "waiting" | "dead" | "deadline";

export interface Entry {
  at: string;
  service: string;
  kind: Kind;
  title: string;
  detail: string;
  /** What the entry is about, for a closer look. */
  body?: unknown;
  letter?: number;
}

const CALL_DONE = new Set(["done", "dropped"]);

function short(record: string): string {
  return record.slice(record.lastIndexOf(".") + 1);
}

/** What was recorded; of a saga, which step and how it stands. */
function titleOf(record: string, body: unknown): string {
  const { step, state } = (typeof body === "object" && body !== null ? body : {}) as { step?: unknown; state?: unknown };
  return typeof step === "string" ? `${short(record)}: ${step}${typeof state === "string" ? ` ${state.replaceAll("_", " ")}` : ""}` : short(record);
}

/** Everything in order of time; what happens at one instant keeps the order in which it was recorded. */
export function merge(stories: Story[], saga: SagaDetail | null): Entry[] {
  const entries: Entry[] = [];
  for (const { service, events, effects, letters } of stories) {
    for (const event of events) {
      entries.push({ at: event.at, service, kind: "event", title: titleOf(event.record, event.body), detail: `${event.stream} ${event.version}`, body: event.body });
    }
    for (const call of effects) {
      const open = !CALL_DONE.has(call.state);
      const tries = call.attempt > 0 ? `, ${call.attempt} failed ${call.attempt === 1 ? "try" : "tries"}` : "";
      entries.push({ at: call.due_at, service, kind: call.state === "dead" ? "dead" : "call", title: `Call to the outside: ${call.step}`, detail: `${call.state}${tries}${open ? ", next at this time" : ""}` });
    }
    for (const letter of letters) {
      const what = short(letter.record ?? letter.topic);
      const why = [letter.code, letter.error].filter((text) => text !== null).join(": ");
      if (letter.state === "dead") {
        entries.push({ at: letter.last_failure_at ?? "", service, kind: "dead", title: `${what} is a dead letter`, detail: `after ${letter.attempt} failed tries. ${why}`, letter: letter.id });
      } else if (letter.state === "head") {
        entries.push({ at: letter.due_at ?? letter.last_failure_at ?? "", service, kind: "retry", title: `${what} is tried again`, detail: `${letter.attempt} failed so far. ${why}`, letter: letter.id });
      } else {
        entries.push({ at: letter.first_failure_at ?? letter.due_at ?? "", service, kind: "waiting", title: `${what} waits for the message before it`, detail: "", letter: letter.id });
      }
    }
  }
  for (const { step, command, deadline_at, compensation } of saga?.awaited ?? []) {
    if (deadline_at !== null) {
      entries.push({ at: deadline_at, service: "orders", kind: "deadline", title: `Deadline of ${step}`, detail: `${compensation ? "undoing, " : ""}${command} is not answered yet` });
    }
  }
  return entries.map((entry, index) => ({ entry, index })).sort((left, right) => time(left.entry.at) - time(right.entry.at) || left.index - right.index).map(({ entry }) => entry);
}

/** What has no time yet stands at the end. */
function time(at: string): number {
  const parsed = Date.parse(at);
  return Number.isNaN(parsed) ? Number.MAX_SAFE_INTEGER : parsed;
}
