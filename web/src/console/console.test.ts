import { describe, expect, it } from "vitest";
import type { Letter, SagaDetail, Story } from "./api";
import { diff } from "./diff";
import { parse, rate, rateOfAll, sum } from "./metrics";
import { merge } from "./timeline";

describe("metrics", () => {
  const text = '# HELP x y\nconsumer_lag_records{group="orders",topic="a b"} 3\nconsumer_lag_records{group="inventory",topic="c\\"d"} 4\noutbox_pending 7\n';

  it("are read with their labels", () => {
    expect(parse(text)).toHaveLength(3);
    expect(sum(parse(text), "consumer_lag_records")).toBe(7);
    expect(sum(parse(text), "consumer_lag_records", { group: "orders" })).toBe(3);
    expect(sum(parse(text), "outbox_pending")).toBe(7);
  });

  it("grow by the second, also over a restart", () => {
    expect(rate(10, 30, 2)).toBe(10);
    expect(rate(100, 4, 2)).toBe(2);
    expect(rate(0, 5, 0)).toBe(0);
  });
});

describe("processes that count for themselves", () => {
  const reading = (instance: string, at: number, value: number) => ({ instance, at, value });

  it("are added by the last two readings of each", () => {
    expect(rateOfAll([reading("a", 0, 10), reading("b", 1_000, 500), reading("a", 2_000, 30), reading("b", 3_000, 510)])).toBe(15);
    expect(rateOfAll([reading("a", 0, 10), reading("b", 1_000, 500)])).toBe(0);
    expect(rateOfAll([reading("a", 0, 0), reading("a", 1_000, 9), reading("a", 2_000, 10)])).toBe(1);
  });
});

describe("a diff", () => {
  it("keeps what stayed and shows what went before what came", () => {
    expect(diff("a\nb\nc", "a\nx\nc")).toEqual([
      { is: "same", text: "a" },
      { is: "gone", text: "b" },
      { is: "new", text: "x" },
      { is: "same", text: "c" },
    ]);
    expect(diff("a", "a").every(({ is }) => is === "same")).toBe(true);
    expect(diff("", "a").map(({ is }) => is)).toEqual(["gone", "new"]);
  });
});

describe("a timeline", () => {
  const event = (record: string, at: string) => ({ stream: "s", version: 1, record, id: "i", cause: "c", at, body: {} });
  const letter = (state: Letter["state"], more: Partial<Letter>): Letter => ({
    id: 7, topic: "inventory.commands", partition: 0, offset: 1, key: "k", message_id: "m", record: "inventory.CreateInventoryHold", step: "hold",
    correlation: "o", state, policy: "hold", attempt: 2, redrive_no: 0, due_at: null, first_failure_at: null, last_failure_at: null, class: null, code: null, error: null, fingerprint: null, ...more,
  });

  it("merges services by time and puts what is to come where it is due", () => {
    const stories: Story[] = [
      { service: "orders", now: "", events: [event("orders.OrderPlaced", "2026-01-01T00:00:00Z"), event("orders.OrderConfirmed", "2026-01-01T00:00:09Z")], effects: [], letters: [] },
      {
        service: "inventory", now: "", events: [event("inventory.InventoryReserved", "2026-01-01T00:00:05Z")], effects: [],
        letters: [letter("head", { due_at: "2026-01-01T00:05:00Z" }), letter("dead", { last_failure_at: "2026-01-01T00:00:07Z", code: "poison" }), letter("follower", {})],
      },
    ];
    stories[0]?.events.splice(1, 0, { ...event("orders.SagaStepRecorded", "2026-01-01T00:00:06Z"), body: { step: "capture", state: "in_doubt" } });
    const saga = { awaited: [{ step: "capture", command: "CapturePayment", message_id: "m", compensation: false, deadline_at: "2026-01-01T00:15:00Z" }] } as unknown as SagaDetail;
    expect(merge(stories, saga).map(({ kind, title }) => `${kind} ${title}`)).toEqual([
      "event OrderPlaced",
      "event InventoryReserved",
      "event SagaStepRecorded: capture in doubt",
      "dead CreateInventoryHold is a dead letter",
      "event OrderConfirmed",
      "retry CreateInventoryHold is tried again",
      "deadline Deadline of capture",
      "waiting CreateInventoryHold waits for the message before it",
    ]);
  });
});
