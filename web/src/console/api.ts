// The operators' side of the services, through the gateway, which checks ops:read and ops:write and says who acts.
// The shapes are those of the crate `operation` (kafka/operation).
import { useMemo } from "react";
import { fetchAs, problemOf } from "../api/client";
import { useIdentity } from "../identity";

export const SERVICES = ["orders", "inventory", "payments"] as const;
export type Service = (typeof SERVICES)[number];

/** Letters of one decision at most (`operation::DECIDE_MAX`). */
export const DECIDE_MAX = 500;

export interface Group {
  topic: string;
  record: string | null;
  class: string;
  code: string;
  fingerprint: string;
  error: string;
  letters: number;
  keys: number;
  waiting: number;
  oldest_at: string;
  newest_at: string;
}
export interface Groups {
  group: string;
  now: string;
  data: Group[];
}
export interface Letter {
  id: number;
  topic: string;
  partition: number;
  offset: number;
  key: string;
  message_id: string;
  record: string | null;
  step: string | null;
  correlation: string;
  state: "head" | "follower" | "dead";
  policy: string;
  attempt: number;
  redrive_no: number;
  due_at: string | null;
  first_failure_at: string | null;
  last_failure_at: string | null;
  class: string | null;
  code: string | null;
  error: string | null;
  fingerprint: string | null;
}
export interface Letters {
  group: string;
  now: string;
  data: Letter[];
  next: number | null;
}
export type Body =
  | { kind: "null" }
  | { kind: "decoded"; schema_id: number; record: string; json: unknown }
  | { kind: "request"; json: unknown }
  | { kind: "undecodable"; hex: string; bytes: number; reason: string };
export interface LetterDetail extends Letter {
  group: string;
  waiting: number;
  headers: { name: string; value: string }[];
  body: Body;
  decisions: { at: string; redrive_no: number; decision: string; who: string; why: string }[];
}
export interface Outcome {
  id: number;
  outcome: "done" | "gone" | "changed" | "not_dead" | "only_skip";
}
export interface Decided {
  executed: boolean;
  results: Outcome[];
}
export interface Edited {
  executed: boolean;
  outcome: string;
  before: unknown;
  after: unknown;
}
export interface Saga {
  id: string;
  status: string;
  step: string;
  cause: string | null;
  stuck_reason: string | null;
  stuck_at: string | null;
  deadline_at: string | null;
  updated_at: string;
}
export interface Sagas {
  now: string;
  data: Saga[];
  next: string | null;
}
export interface SagaDetail extends Saga {
  definition: string;
  shape_version: number;
  decision: string | null;
  awaited: { step: string; command: string; message_id: string; compensation: boolean; deadline_at: string | null }[];
  steps: { step: string; state: string | null }[];
}
export interface Acted {
  executed: boolean;
  id: string;
  records: string[];
  sends: string[];
  status: string;
}
export interface StoryEvent {
  stream: string;
  version: number;
  record: string;
  id: string;
  cause: string;
  at: string;
  body: unknown;
}
export interface Effect {
  id: number;
  stream: string;
  step: string;
  correlation: string;
  state: string;
  attempt: number;
  due_at: string;
}
export interface Story {
  service: string;
  now: string;
  events: StoryEvent[];
  effects: Effect[];
  letters: Letter[];
}

type Query = Record<string, string | number | null | undefined>;

export interface Ops {
  get: <T>(service: Service, path: string, query?: Query, signal?: AbortSignal) => Promise<T>;
  post: <T>(service: Service, path: string, body: object) => Promise<T>;
  /** The figures of a process, and which one it is: there may be several gateways, and any of them answers. */
  figures: (service: Service | "gateway", signal?: AbortSignal) => Promise<{ instance: string; text: string }>;
}

export function useOps(): Ops {
  const { token, renew } = useIdentity();
  return useMemo(() => {
    const send = fetchAs({ token, renew });
    const ask = async (path: string, init: RequestInit = {}) => {
      const answer = await send(new Request(`${location.origin}/v1/ops/${path}`, init));
      if (!answer.ok) throw await problemOf(answer);
      return answer;
    };
    const signalled = (signal: AbortSignal | undefined): RequestInit => (signal === undefined ? {} : { signal });
    return {
      get: async (service, path, query = {}, signal) => {
        const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
        const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
        return (await ask(`${service}/${path}${text && `?${text}`}`, signalled(signal))).json();
      },
      post: async (service, path, body) => {
        const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
        return (await ask(`${service}/${path}`, init)).json();
      },
      figures: async (service, signal) => {
        const answer = await ask(`${service}/metrics`, signalled(signal));
        return { instance: answer.headers.get("x-instance") ?? service, text: await answer.text() };
      },
    };
  }, [token, renew]);
}
