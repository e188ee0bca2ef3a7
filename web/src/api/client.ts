import createClient, { type Client } from "openapi-fetch";
import { useMemo } from "react";
import { useIdentity, type Ways } from "../identity";
import type { components, paths } from "./schema";

export type Order = components["schemas"]["Order"];
export type OrderEvent = components["schemas"]["OrderEvent"];
export type Product = components["schemas"]["Product"];
export type Money = components["schemas"]["Money"];
export type ProblemBody = components["schemas"]["Problem"];
export type Api = Client<paths>;

/** A refusal of the API, as its `application/problem+json` says it. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    override readonly message: string,
    readonly retryAfterSeconds: number | null,
    readonly body: Partial<ProblemBody>,
  ) {
    super(message);
  }
}

export async function problemOf(response: Response, body?: unknown): Promise<Problem> {
  const read: unknown = body ?? (await response.json().catch(() => ({})));
  const problem = (typeof read === "object" && read !== null ? read : {}) as Partial<ProblemBody>;
  const after = Number(response.headers.get("retry-after"));
  const text = problem.detail ?? problem.title ?? `the answer was ${response.status}`;
  return new Problem(response.status, problem.code ?? "unknown", text, Number.isFinite(after) && after > 0 ? after : null, problem);
}

/** `fetch` as whoever is signed in. A token that was refused is renewed and the request sent once more: a 401 has done nothing. */
export function fetchAs({ token: tokenNow, renew }: Pick<Ways, "token" | "renew">): (input: Request) => Promise<Response> {
  return async (input) => {
    const send = (token: string | null) => {
      const request = input.clone();
      if (token !== null) request.headers.set("Authorization", `Bearer ${token}`);
      return fetch(request);
    };
    const token = await tokenNow();
    const answer = await send(token);
    if (answer.status !== 401 || token === null) return answer;
    const renewed = await renew();
    return renewed === null ? answer : send(renewed);
  };
}

export function useApi(): Api {
  const { token, renew } = useIdentity();
  return useMemo(() => createClient<paths>({ baseUrl: location.origin, fetch: fetchAs({ token, renew }) }), [token, renew]);
}

/** The body of an answer, or the refusal as an error. */
export async function answered<T>(asked: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await asked;
  if (!response.ok || data === undefined) throw await problemOf(response, error);
  return data;
}
