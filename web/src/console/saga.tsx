import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { Problem } from "../api/client";
import { useIdentity } from "../identity";
import { Refusal } from "../refusal";
import { instant } from "../words";
import { type Acted, type SagaDetail, SERVICES, type Story, useOps } from "./api";
import { Reason } from "./decide";
import { merge } from "./timeline";

export function SagaPage({ id }: { id: string }) {
  const ops = useOps();
  const { may } = useIdentity();
  const found = useQuery({
    queryKey: ["console", "story", id],
    refetchInterval: 3_000,
    queryFn: async ({ signal }) => {
      const path = encodeURIComponent(id);
      const saga = await ops.get<SagaDetail>("orders", `sagas/${path}`, {}, signal).catch((error: unknown) => {
        if (error instanceof Problem && error.status === 404) return null;
        throw error;
      });
      const stories = await Promise.all(SERVICES.map((service) => ops.get<Story>(service, `stories/${path}`, {}, signal)));
      return { saga, stories };
    },
  });
  if (found.isError) return <Refusal error={found.error} what="The story was not read." />;
  if (found.data === undefined) return <p role="status">Loading…</p>;
  const { saga, stories } = found.data;
  const entries = merge(stories, saga);
  return (
    <section>
      <h1>Timeline of an order</h1>
      <p>
        <code>{id}</code>
      </p>
      {saga === null ? <p>No saga has this id.</p> : <Standing saga={saga} />}
      {saga?.status === "stuck" && may("ops:write") && <Act id={id} />}
      <ol className="timeline">
        {entries.map((entry, index) => (
          <li key={`${entry.at}-${index}`} className={entry.kind} data-title={entry.title}>
            <time dateTime={entry.at}>{entry.at === "" ? "not yet" : clock(entry.at)}</time>
            <span className="service">{entry.service}</span>
            <span>
              <strong>{entry.letter === undefined ? entry.title : <Link href={`/console/letters/${entry.service}/${entry.letter}`}>{entry.title}</Link>}</strong> <span className="dim">{entry.detail}</span>
              {entry.body !== undefined && (
                <details>
                  <summary>Body</summary>
                  <pre tabIndex={0}>{JSON.stringify(entry.body, null, 2)}</pre>
                </details>
              )}
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** To the millisecond: many things of one order happen within a second. */
function clock(at: string): string {
  return new Date(at).toLocaleString(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
}

function Standing({ saga }: { saga: SagaDetail }) {
  return (
    <>
      <p>
        <span className={`badge ${saga.status}`}>{saga.status}</span> {saga.decision !== null && <>decided: {saga.decision}. </>}
        {saga.stuck_reason !== null && <>Stuck because of {saga.stuck_reason}. </>}
        {saga.cause !== null && <>Turned back because of {saga.cause}. </>}
        <span className="dim">Last change {instant(saga.updated_at)}</span>
      </p>
      <ul className="steps">
        {saga.steps.map(({ step, state }) => (
          <li key={step}>
            {step}: {state ?? "not its turn"}
          </li>
        ))}
      </ul>
    </>
  );
}

function Act({ id }: { id: string }) {
  const ops = useOps();
  const queries = useQueryClient();
  const [why, setWhy] = useState("");
  const act = useMutation({
    mutationFn: ({ what, execute }: { what: "resume" | "abandon"; execute: boolean }) => ops.post<Acted>("orders", `sagas/${encodeURIComponent(id)}/${what}`, { why, execute }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["console", "story", id] }),
  });
  const plan = act.data !== undefined && !act.data.executed && act.variables !== undefined ? { acted: act.data, what: act.variables.what } : null;
  return (
    <div className="decide">
      <h2>Move it on</h2>
      <Reason why={why} setWhy={setWhy} />
      <div className="buttons">
        <button type="button" disabled={why.trim() === "" || act.isPending} onClick={() => act.mutate({ what: "resume", execute: false })}>
          Plan: send the awaited command again
        </button>
        <button type="button" disabled={why.trim() === "" || act.isPending} onClick={() => act.mutate({ what: "abandon", execute: false })}>
          Plan: give it up
        </button>
      </div>
      {act.isError && <Refusal error={act.error} what="It was not moved on." />}
      {plan !== null && (
        <div role="status">
          <p>
            It would record {plan.acted.records.join(", ") || "nothing"}, send {plan.acted.sends.join(", ") || "nothing"}, and be {plan.acted.status}.
          </p>
          <button type="button" className="primary" onClick={() => act.mutate({ what: plan.what, execute: true })}>
            Do it
          </button>
        </div>
      )}
      {act.data?.executed === true && <p role="status">Done: it is {act.data.status}.</p>}
    </div>
  );
}
