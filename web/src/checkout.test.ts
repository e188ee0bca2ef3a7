import { beforeEach, describe, expect, it, vi } from "vitest";
import { type Api, Problem } from "./api/client";
import { basket, type Line } from "./basket";
import { checkOut, intend, intent, isFrozen, judge, KEPT_MS, type State } from "./checkout";

const LINE: Line = { sku: "tea", name: "Tea", price: { minor: 300, currency: "USD" }, quantity: 2 };

function problem(status: number, code: string, retry: number | null = null) {
  return new Problem(status, code, code, retry, {});
}

class Storage {
  private values = new Map<string, string>();
  getItem = (name: string) => this.values.get(name) ?? null;
  setItem = (name: string, value: string) => void this.values.set(name, value);
  removeItem = (name: string) => void this.values.delete(name);
}

beforeEach(() => {
  vi.stubGlobal("localStorage", new Storage());
  vi.stubGlobal("dispatchEvent", () => true);
  vi.stubGlobal("addEventListener", () => {});
  vi.stubGlobal("removeEventListener", () => {});
  vi.stubGlobal("navigator", {});
});

describe("what an attempt means", () => {
  it("is in doubt whenever it may have arrived, and is tried again", () => {
    expect(judge(new TypeError("failed to fetch"), 1)).toMatchObject({ is: "again", after_ms: 1_000 });
    for (const [status, code] of [[500, "internal"], [503, "unavailable"], [504, "upstream_timeout"], [429, "rate_limited"], [409, "request_in_flight"], [408, "request_timeout"]] as const) {
      expect(judge(problem(status, code), 1).is).toBe("again");
    }
    expect(judge(problem(503, "unavailable", 7), 1)).toMatchObject({ after_ms: 7_000 });
    expect(judge(new TypeError(), 40)).toMatchObject({ after_ms: 15_000 });
  });

  it("is over when it was refused, and stands when only the token was", () => {
    expect(judge(problem(422, "unknown_sku"), 1).is).toBe("refused");
    expect(judge(problem(422, "idempotency_key_reused"), 1).is).toBe("refused");
    expect(judge(problem(401, "invalid_token"), 1).is).toBe("signed-out");
  });
});

describe("an intent", () => {
  it("is gone on with by its customer, whatever the basket says now, and by nobody else", () => {
    const open = intend(null, "ada", [LINE], "tok_ok", "k1", 0);
    expect(open).toEqual({ key: "k1", subject: "ada", body: { lines: [{ sku: "tea", quantity: 2 }], payment: { token: "tok_ok" } }, pressed_at: 0 });
    expect(intend(open, "ada", [], "tok_declined", "k2", 1)).toBe(open);
    expect(intend(open, "bob", [LINE], "tok_ok", "k2", 1)?.key).toBe("k2");
    expect(intend(null, "ada", [], "tok_ok", "k3", 1)).toBeNull();
  });
});

describe("a basket in doubt", () => {
  const open = intend(null, "ada", [LINE], "tok_ok", "k1", 0);

  it("stays as it is for its customer and for nobody signed in, not for another customer", () => {
    expect([isFrozen(open, "ada"), isFrozen(open, null), isFrozen(open, "bob"), isFrozen(null, "ada")]).toEqual([true, true, false, false]);
  });
});

interface Sent {
  params: { header: { "Idempotency-Key": string } };
}

/** An API that answers in turn, and what it was sent. */
function api(answers: (() => unknown)[]) {
  const keys: string[] = [];
  const post = async (_path: string, sent: Sent) => {
    keys.push(sent.params.header["Idempotency-Key"]);
    return answers.shift()?.();
  };
  return { keys, api: { POST: post } as unknown as Api };
}

const placed = () => ({ data: { id: "o1" }, response: { ok: true } });
const lost = () => {
  throw new TypeError("failed to fetch");
};
const refused = () => ({ error: { code: "unknown_sku" }, response: new Response("{}", { status: 422 }) });

async function run(answers: (() => unknown)[], now = 0) {
  const told: State["is"][] = [];
  let made = 0;
  const sent = api(answers);
  vi.useFakeTimers();
  const done = checkOut("tok_ok", {
    api: sent.api,
    subject: "ada",
    tell: (state) => told.push(state.is),
    signal: new AbortController().signal,
    now: () => now,
    newKey: () => `k${(made += 1)}`,
  });
  await vi.runAllTimersAsync();
  vi.useRealTimers();
  return { order: await done, told, keys: sent.keys };
}

describe("checking out", () => {
  it("sends one key until somebody answers, then forgets basket and key", async () => {
    basket.set([LINE]);
    const { order, told, keys } = await run([lost, lost, placed]);
    expect(order).toEqual({ id: "o1" });
    expect(keys).toEqual(["k1", "k1", "k1"]);
    expect(told).toEqual(["sending", "waiting", "sending", "waiting", "sending", "idle"]);
    expect([basket.get(), intent.get()]).toEqual([[], null]);
  });

  it("keeps the basket and drops the key when it was refused", async () => {
    basket.set([LINE]);
    const { order, told } = await run([refused]);
    expect([order, told.at(-1), intent.get()]).toEqual([null, "refused", null]);
    expect(basket.get()).toEqual([LINE]);
  });

  it("takes up an intent of a page that was closed, with its key and its lines", async () => {
    intent.set({ key: "old", subject: "ada", body: { lines: [{ sku: "tea", quantity: 1 }], payment: { token: "tok_ok" } }, pressed_at: 0 });
    const { keys } = await run([placed], KEPT_MS);
    expect(keys).toEqual(["old"]);
  });

  it("sends nothing under a key the gateway may have forgotten", async () => {
    intent.set({ key: "old", subject: "ada", body: { lines: [], payment: { token: "tok_ok" } }, pressed_at: 0 });
    const { keys, told } = await run([placed], KEPT_MS + 1);
    expect([keys, told]).toEqual([[], ["stale"]]);
    expect(intent.get()?.key).toBe("old");
  });
});
