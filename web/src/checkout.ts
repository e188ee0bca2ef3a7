// Checking out once. An intent is one press of the button: its key is made with it and kept until its fate is known, through reloads, lost
// networks and second presses. The gateway answers the same key with the same order, so sending it again is always safe; making a new key
// while the old one is in doubt never is.
import { answered, type Api, type Order, Problem } from "./api/client";
import { basket, type Line } from "./basket";
import { Kept } from "./kept";

export interface Intent {
  key: string;
  /** Keys are each customer's own: whoever else signs in here has nothing to do with it. */
  subject: string;
  body: { lines: { sku: string; quantity: number }[]; payment: { token: string } };
  /** Milliseconds since 1970. */
  pressed_at: number;
}

/** The gateway keeps keys for 24 hours; an hour less for clocks that differ. */
export const KEPT_MS = 23 * 3_600_000;
const PAUSE_MAX_MS = 15_000;

function readIntent(stored: unknown): Intent | null {
  const intent = stored as Partial<Intent> | null;
  const whole = typeof intent?.key === "string" && typeof intent.subject === "string" && typeof intent.pressed_at === "number" && Array.isArray(intent.body?.lines);
  return whole ? (intent as Intent) : null;
}

export const intent = new Kept<Intent | null>("checkout", readIntent);

/** Whether the basket must stay as it is: an order of it may have been placed, and nobody knows yet. Another customer's is not ours to wait for. */
export function isFrozen(open: Intent | null, subject: string | null): boolean {
  return open !== null && (subject === null || open.subject === subject);
}

/** What follows from an attempt. */
export type Verdict =
  | { is: "placed"; order: Order }
  /** Nobody knows whether it arrived, or it cannot be taken now: the same again, later. */
  | { is: "again"; after_ms: number; why: string }
  /** It was refused and nothing was kept of it: the intent is over. */
  | { is: "refused"; problem: Problem }
  /** Nothing happened, and the intent stands: who asks must sign in again. */
  | { is: "signed-out" };

/** What an attempt that ended with `error` means, `attempt` counted from 1. */
export function judge(error: unknown, attempt: number): Verdict {
  const pause = Math.min(1_000 * 2 ** Math.min(attempt - 1, 5), PAUSE_MAX_MS);
  if (!(error instanceof Problem)) return { is: "again", after_ms: pause, why: "The shop could not be reached." };
  if (error.status === 401) return { is: "signed-out" };
  const passes = error.status >= 500 || error.status === 429 || error.status === 408 || error.code === "request_in_flight";
  if (!passes) return { is: "refused", problem: error };
  const after_ms = error.retryAfterSeconds === null ? pause : error.retryAfterSeconds * 1_000;
  return { is: "again", after_ms, why: error.code === "request_in_flight" ? "It is being placed." : "The shop is busy." };
}

export type State =
  | { is: "idle" }
  | { is: "sending" }
  | { is: "waiting"; why: string }
  | { is: "refused"; problem: Problem }
  | { is: "stale" }
  | { is: "signed-out" };

export interface Asked {
  api: Api;
  subject: string;
  /** Reports how it goes. */
  tell: (state: State) => void;
  /** Ends the waiting; what was sent stays sent. */
  signal: AbortSignal;
  now?: () => number;
  newKey?: () => string;
}

/** The intent to go on with: the open one of `subject`, or a new one for the basket as it is; null where there is nothing to buy. */
export function intend(open: Intent | null, subject: string, lines: Line[], token: string, key: string, now: number): Intent | null {
  if (open?.subject === subject) return open;
  if (lines.length === 0) return null;
  const body = { lines: lines.map(({ sku, quantity }) => ({ sku, quantity })), payment: { token } };
  return { key, subject, body, pressed_at: now };
}

/** Places the order of the basket, whatever it takes; the order, or null where it was refused, given up or there was nothing to buy. */
export async function checkOut(token: string, asked: Asked): Promise<Order | null> {
  const work = () => checkOutAlone(token, asked);
  // two tabs press one button: the second waits, and finds the basket empty
  return navigator.locks === undefined ? work() : navigator.locks.request("checkout", work);
}

async function checkOutAlone(token: string, { api, subject, tell, signal, now = Date.now, newKey = () => crypto.randomUUID() }: Asked): Promise<Order | null> {
  const mine = intend(intent.get(), subject, basket.get(), token, newKey(), now());
  if (mine === null) {
    tell({ is: "idle" });
    return null;
  }
  if (now() - mine.pressed_at > KEPT_MS) {
    tell({ is: "stale" });
    return null;
  }
  // before it is sent: from here on the key survives everything
  intent.set(mine);
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    tell({ is: "sending" });
    const verdict = await attemptOnce(api, mine, attempt);
    switch (verdict.is) {
      case "placed":
        basket.set(null);
        intent.set(null);
        tell({ is: "idle" });
        return verdict.order;
      case "refused":
        intent.set(null);
        tell({ is: "refused", problem: verdict.problem });
        return null;
      case "signed-out":
        tell({ is: "signed-out" });
        return null;
      case "again":
        tell({ is: "waiting", why: verdict.why });
        await pause(verdict.after_ms, signal);
    }
  }
  return null;
}

async function attemptOnce(api: Api, { key, body }: Intent, attempt: number): Promise<Verdict> {
  try {
    const order = await answered(api.POST("/v1/orders", { params: { header: { "Idempotency-Key": key } }, body }));
    return { is: "placed", order };
  } catch (error) {
    return judge(error, attempt);
  }
}

/** Waits, or until the network is back. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(end, milliseconds);
    function end() {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      done();
    }
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}
