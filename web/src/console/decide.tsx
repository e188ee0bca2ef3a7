// A decision about letters: why, the plan, then the doing, with what became of each.
import { useState } from "react";
import { Refusal } from "../refusal";
import { DECIDE_MAX, type Decided, type Outcome, type Service, useOps } from "./api";

export interface Target {
  id: number;
  redrive_no: number;
}

export type Verb = "redrive" | "skip" | "abandon";

const VERBS: Record<Verb, { plan: string; done: string; means: string }> = {
  redrive: { plan: "send back", done: "sent back", means: "It is handled again as it is, in the order of its key." },
  skip: { plan: "skip", done: "skipped", means: "It is never handled. The later messages of its key go on without it." },
  abandon: { plan: "give up", done: "given up", means: "Its saga is told that the step failed." },
};

export const OUTCOMES: Record<Outcome["outcome"], string> = {
  done: "yes",
  gone: "no longer there: handled, undone or skipped before",
  changed: "somebody decided about it meanwhile",
  not_dead: "it is being tried just now",
  only_skip: "it can only be skipped",
};

export function Reason({ why, setWhy }: { why: string; setWhy: (why: string) => void }) {
  return (
    <label className="reason">
      Why (kept for ever, with your name)
      <input required maxLength={500} value={why} onChange={(event) => setWhy(event.target.value)} />
    </label>
  );
}

interface Progress {
  verb: Verb;
  executed: boolean;
  total: number;
  results: Outcome[];
}

/** `letters` gives the letters to decide about, however many pages they are. */
export function Decide({ service, letters, verbs, done }: { service: Service; letters: () => Promise<Target[]>; verbs: Verb[]; done: () => void }) {
  const ops = useOps();
  const [why, setWhy] = useState("");
  const [progress, setProgress] = useState<Progress | null>(null);
  const [targets, setTargets] = useState<Target[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const run = async (verb: Verb, execute: boolean, all: Target[]) => {
    setBusy(true);
    setError(null);
    const results: Outcome[] = [];
    const tell = () => setProgress({ verb, executed: execute, total: all.length, results: [...results] });
    try {
      for (let from = 0; from < all.length; from += DECIDE_MAX) {
        tell();
        const part = all.slice(from, from + DECIDE_MAX).map(({ id, redrive_no }) => ({ id, redrive_no }));
        results.push(...(await ops.post<Decided>(service, `dlq/${verb}`, { why, letters: part, execute })).results);
      }
      tell();
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
      if (execute) done();
    }
  };
  const plan = async (verb: Verb) => {
    try {
      setError(null);
      const all = await letters();
      setTargets(all);
      await run(verb, false, all);
    } catch (failure) {
      setError(failure);
    }
  };
  const would = progress?.results.filter(({ outcome }) => outcome === "done").length ?? 0;
  const finished = progress !== null && progress.results.length === progress.total;
  return (
    <div className="decide">
      <h2>Decide</h2>
      <Reason why={why} setWhy={setWhy} />
      <div className="buttons">
        {verbs.map((verb) => (
          <button key={verb} type="button" disabled={busy || why.trim() === ""} title={VERBS[verb].means} onClick={() => void plan(verb)}>
            Plan: {VERBS[verb].plan}
          </button>
        ))}
      </div>
      {error !== null && <Refusal error={error} what="It was not decided." />}
      <div role="status">
        {progress !== null && (
          <>
            {!finished && <progress max={progress.total} value={progress.results.length} aria-label="Progress" />}
            <p>
              {progress.executed ? `${would.toLocaleString()} of ${progress.total.toLocaleString()} ${VERBS[progress.verb].done}.` : `${would.toLocaleString()} of ${progress.total.toLocaleString()} would be ${VERBS[progress.verb].done}. ${VERBS[progress.verb].means}`}
            </p>
            <Results results={progress.results} />
          </>
        )}
      </div>
      {progress !== null && finished && !progress.executed && would > 0 && (
        <button type="button" className="primary" disabled={busy} onClick={() => void run(progress.verb, true, targets)}>
          {VERBS[progress.verb].plan} {would.toLocaleString()} {would === 1 ? "letter" : "letters"}
        </button>
      )}
    </div>
  );
}

/** Only what did not go as asked is listed one by one. */
function Results({ results }: { results: Outcome[] }) {
  const others = results.filter(({ outcome }) => outcome !== "done");
  if (others.length === 0) return null;
  return (
    <ul>
      {others.slice(0, 100).map(({ id, outcome }) => (
        <li key={id}>
          Letter {id}: {OUTCOMES[outcome]}
        </li>
      ))}
      {others.length > 100 && <li>and {others.length - 100} more</li>}
    </ul>
  );
}
