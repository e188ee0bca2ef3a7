import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { Refusal } from "../refusal";
import { instant } from "../words";
import { type Letters, SERVICES, useOps } from "./api";

/** Who waits for what until when. */
export function Waiting() {
  const ops = useOps();
  const found = useQuery({
    queryKey: ["console", "waiting"],
    refetchInterval: 3_000,
    queryFn: ({ signal }) => Promise.all(SERVICES.map(async (service) => ({ service, ...(await ops.get<Letters>(service, "retry/waiting", { limit: 200 }, signal)) }))),
  });
  const letters = (found.data ?? []).flatMap(({ service, data }) => data.map((letter) => ({ service, ...letter })));
  const more = found.data?.some(({ next }) => next !== null) ?? false;
  return (
    <section>
      <h1>Waiting</h1>
      <p className="dim">Messages that failed and are tried again, and the later messages of their keys behind them.</p>
      {found.isError && <Refusal error={found.error} what="What waits was not read." />}
      {found.isSuccess && letters.length === 0 && <p>Nothing waits.</p>}
      {letters.length > 0 && (
        <div className="wide" tabIndex={0} role="region" aria-label="Waiting messages">
          <table>
            <thead>
              <tr>
                {["Group", "Message", "Key", "Failed tries", "Next try", "Failure"].map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {letters.map((letter) => (
                <tr key={letter.service + letter.id}>
                  <td>{letter.service}</td>
                  <th scope="row">
                    <Link href={`/console/letters/${letter.service}/${letter.id}`}>{letter.record ?? letter.topic}</Link>
                  </th>
                  <td>
                    <code>{letter.key}</code>
                  </td>
                  <td>{letter.attempt}</td>
                  <td>{letter.state === "follower" ? "after the one before it" : letter.due_at !== null && instant(letter.due_at)}</td>
                  <td className="text">{letter.error}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {more && <p>Only the first 200 of a group are shown.</p>}
    </section>
  );
}
