import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { Problem } from "../api/client";
import { useIdentity } from "../identity";
import { Refusal } from "../refusal";
import { instant } from "../words";
import { type Body, type Edited, type LetterDetail, type Outcome, type Service, useOps } from "./api";
import { Decide, OUTCOMES, Reason } from "./decide";
import { diff } from "./diff";

export function LetterPage({ service: name, id }: { service: string; id: string }) {
  const service = name as Service;
  const ops = useOps();
  const queries = useQueryClient();
  const { may } = useIdentity();
  const found = useQuery({ queryKey: ["console", "letter", service, id], queryFn: ({ signal }) => ops.get<LetterDetail>(service, `letters/${encodeURIComponent(id)}`, {}, signal) });
  const [editing, setEditing] = useState(false);
  const [decided, setDecided] = useState(false);
  // once read it stays on the page, also when it is handled and gone: what was decided about it is still to be read
  if (found.isError && found.data === undefined) {
    const gone = found.error instanceof Problem && found.error.status === 404;
    return (
      <section>
        <h1>Letter {id}</h1>
        {gone ? <p>It is not there any more: it was handled or skipped.</p> : <Refusal error={found.error} what="The letter was not read." />}
        <Link href="/console/letters">Dead letters</Link>
      </section>
    );
  }
  if (found.data === undefined) return <p role="status">Loading…</p>;
  const letter = found.data;
  const again = () => {
    setDecided(true);
    void queries.invalidateQueries({ queryKey: ["console"] });
  };
  return (
    <section>
      <h1>
        Letter {letter.id}: {letter.record ?? letter.topic}
      </h1>
      <dl className="facts">
        <dt>State</dt>
        <dd>
          <span className={`badge ${letter.state}`}>{letter.state}</span> after {letter.attempt} failed tries, sent back {letter.redrive_no} times
        </dd>
        <dt>Failure</dt>
        <dd>
          {letter.code !== null && <a href={`/problems/${letter.code}`}>{letter.code}</a>} {letter.error}
        </dd>
        <dt>From</dt>
        <dd>
          {letter.topic}, partition {letter.partition}, offset {letter.offset}
        </dd>
        <dt>Key</dt>
        <dd>
          <code>{letter.key}</code>, {letter.waiting} later messages wait behind it
        </dd>
        <dt>Story</dt>
        <dd>
          <Link href={`/console/sagas/${encodeURIComponent(letter.correlation)}`}>Timeline of {letter.correlation}</Link>
        </dd>
        {letter.last_failure_at !== null && (
          <>
            <dt>Failed last</dt>
            <dd>{instant(letter.last_failure_at)}</dd>
          </>
        )}
      </dl>
      <h2>Body</h2>
      <BodyView body={letter.body} />
      {letter.body.kind === "decoded" && letter.state === "dead" && may("ops:write") && !editing && (
        <button type="button" onClick={() => setEditing(true)}>
          Edit and send back
        </button>
      )}
      {editing && letter.body.kind === "decoded" && <Edit service={service} letter={letter} json={letter.body.json} done={again} />}
      <details>
        <summary>{letter.headers.length} headers</summary>
        <dl className="facts">
          {letter.headers.map((header, index) => (
            <div key={`${header.name}-${index}`} style={{ display: "contents" }}>
              <dt>{header.name}</dt>
              <dd>
                <code>{header.value}</code>
              </dd>
            </div>
          ))}
        </dl>
      </details>
      <h2>What was decided so far</h2>
      {letter.decisions.length === 0 ? (
        <p className="dim">Nothing.</p>
      ) : (
        <ul>
          {letter.decisions.map((decision) => (
            <li key={decision.at + decision.decision}>
              {instant(decision.at)}: {decision.decision} by {decision.who}, “{decision.why}”
            </li>
          ))}
        </ul>
      )}
      {(letter.state === "dead" || decided) && may("ops:write") && !editing && <Decide service={service} letters={() => Promise.resolve([letter])} verbs={["redrive", "skip"]} done={again} />}
    </section>
  );
}

function BodyView({ body }: { body: Body }) {
  switch (body.kind) {
    case "null":
      return <p>The record had no value.</p>;
    case "decoded":
      return (
        <>
          <p className="dim">
            {body.record}, schema {body.schema_id}
          </p>
          <pre tabIndex={0}>{JSON.stringify(body.json, null, 2)}</pre>
        </>
      );
    case "request":
      return <pre tabIndex={0}>{JSON.stringify(body.json, null, 2)}</pre>;
    case "undecodable":
      return (
        <>
          <p className="notice bad">It cannot be decoded: {body.reason}</p>
          <pre tabIndex={0}>{(body.hex.match(/.{1,2}/g) ?? []).join(" ")}</pre>
          <p className="dim">{body.bytes.toLocaleString()} bytes</p>
        </>
      );
  }
}

function Edit({ service, letter, json, done }: { service: Service; letter: LetterDetail; json: unknown; done: () => void }) {
  const ops = useOps();
  const [text, setText] = useState(() => JSON.stringify(json, null, 2));
  const [why, setWhy] = useState("");
  const edit = useMutation({
    mutationFn: (execute: boolean) => {
      const body: unknown = JSON.parse(text);
      return ops.post<Edited>(service, `letters/${letter.id}/edit`, { why, redrive_no: letter.redrive_no, body, execute });
    },
    onSuccess: (edited) => {
      if (edited.executed) done();
    },
  });
  const plan = edit.data !== undefined && !edit.data.executed ? edit.data : null;
  const fits = plan?.outcome === "done";
  return (
    <div className="decide">
      <h2>Edit and send back</h2>
      <label style={{ display: "flex" }}>
        Body
        <textarea
          value={text}
          spellCheck={false}
          onChange={(event) => {
            setText(event.target.value);
            edit.reset();
          }}
        />
      </label>
      <Reason why={why} setWhy={setWhy} />
      <div className="buttons">
        <button type="button" disabled={why.trim() === "" || edit.isPending} onClick={() => edit.mutate(false)}>
          Validate and show what changes
        </button>
      </div>
      {edit.isError && (edit.error instanceof SyntaxError ? <p role="alert" className="notice bad">That is no JSON: {edit.error.message}</p> : <Refusal error={edit.error} what="It was not sent." />)}
      <div role="status">
        {plan !== null && (
          <>
            <pre className="diff" tabIndex={0}>
              {diff(JSON.stringify(plan.before, null, 2), JSON.stringify(plan.after, null, 2)).map(({ is, text: line }, index) => (
                <div key={index} className={is}>
                  {is === "gone" ? "- " : is === "new" ? "+ " : "  "}
                  {line}
                </div>
              ))}
            </pre>
            {!fits && <p className="notice bad">It cannot be sent: {OUTCOMES[plan.outcome as Outcome["outcome"]] ?? plan.outcome}.</p>}
          </>
        )}
        {edit.data?.executed === true && (
          <p>
            Sent back. <Link href={`/console/sagas/${encodeURIComponent(letter.correlation)}`}>See its timeline</Link>
          </p>
        )}
      </div>
      {fits && (
        <button type="button" className="primary" disabled={edit.isPending} onClick={() => edit.mutate(true)}>
          Send it back as edited
        </button>
      )}
    </div>
  );
}
