import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useSearchParams } from "wouter";
import { useIdentity } from "../identity";
import { Refusal } from "../refusal";
import { instant } from "../words";
import { type Groups as GroupsOf, type Letters, type Service, SERVICES, useOps } from "./api";
import { Decide } from "./decide";

/** The work list: dead letters of all services by what they have in common. */
export function Groups() {
  const ops = useOps();
  const found = useQuery({
    queryKey: ["console", "groups"],
    refetchInterval: 5_000,
    queryFn: ({ signal }) => Promise.all(SERVICES.map(async (service) => ({ service, ...(await ops.get<GroupsOf>(service, "dlq/groups", {}, signal)) }))),
  });
  const groups = (found.data ?? []).flatMap(({ service, now, data }) => data.map((group) => ({ service, now, ...group })));
  return (
    <section>
      <h1>Dead letters</h1>
      {found.isError && <Refusal error={found.error} what="The dead letters were not read." />}
      {found.isSuccess && groups.length === 0 && <p>There are none.</p>}
      {groups.length > 0 && (
        <div className="wide" tabIndex={0} role="region" aria-label="Dead letters by what they have in common">
          <table>
            <thead>
              <tr>
                {["Group", "Message", "Failure", "Letters", "Keys", "Waiting behind", "Oldest"].map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {groups.map((group) => (
                <tr key={group.service + group.fingerprint + group.topic}>
                  <td>{group.service}</td>
                  <th scope="row">
                    <Link href={`/console/letters/${group.service}?${new URLSearchParams({ fingerprint: group.fingerprint, topic: group.topic })}`}>{group.record ?? group.topic}</Link>
                  </th>
                  <td className="text">
                    <a href={`/problems/${group.code}`}>{group.code}</a> <span className="dim">{group.error}</span>
                  </td>
                  <td>{group.letters.toLocaleString()}</td>
                  <td>{group.keys.toLocaleString()}</td>
                  <td>{group.waiting.toLocaleString()}</td>
                  <td>{instant(group.oldest_at)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function isService(name: string): name is Service {
  return (SERVICES as readonly string[]).includes(name);
}

export function LetterList({ service }: { service: string }) {
  return isService(service) ? <List service={service} /> : <p>There is no service {service}.</p>;
}

function List({ service }: { service: Service }) {
  const ops = useOps();
  const queries = useQueryClient();
  const { may } = useIdentity();
  const [search] = useSearchParams();
  const [decided, setDecided] = useState(false);
  const filter = { fingerprint: search.get("fingerprint"), topic: search.get("topic"), key: search.get("key") };
  const key = ["console", "letters", service, filter];
  const letters = useInfiniteQuery({
    queryKey: key,
    initialPageParam: 0,
    queryFn: ({ pageParam, signal }) => ops.get<Letters>(service, "dlq/letters", { ...filter, limit: 100, after: pageParam || null }, signal),
    getNextPageParam: (page) => page.next,
  });
  // what dies again while it is decided about is not sent back a second time: `before` is when the list was read
  const all = async () => {
    const before = letters.data?.pages[0]?.now;
    const found = [];
    let after: number | null = null;
    do {
      const page: Letters = await ops.get<Letters>(service, "dlq/letters", { ...filter, before, limit: 500, after });
      found.push(...page.data);
      after = page.next;
    } while (after !== null);
    return found;
  };
  // what became of the letters is read when they are gone from the list
  const done = () => {
    setDecided(true);
    void queries.invalidateQueries({ queryKey: ["console"] });
  };
  const shown = letters.data?.pages.flatMap(({ data }) => data) ?? [];
  return (
    <section>
      <h1>Dead letters of {service}</h1>
      {letters.isError && <Refusal error={letters.error} what="The letters were not read." />}
      {letters.isSuccess && shown.length === 0 && <p>There are none.</p>}
      {shown.length > 0 && (
        <div className="wide" tabIndex={0} role="region" aria-label="Dead letters">
          <table>
            <thead>
              <tr>
                {["Letter", "Key", "Story", "Tries", "Sent back", "Failed last", "Failure"].map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {shown.map((letter) => (
                <tr key={letter.id}>
                  <th scope="row">
                    <Link href={`/console/letters/${service}/${letter.id}`}>
                      {letter.id} {letter.record ?? letter.topic}
                    </Link>
                  </th>
                  <td>
                    <code>{letter.key}</code>
                  </td>
                  <td>
                    <Link href={`/console/sagas/${encodeURIComponent(letter.correlation)}`}>timeline</Link>
                  </td>
                  <td>{letter.attempt}</td>
                  <td>{letter.redrive_no}</td>
                  <td>{letter.last_failure_at !== null && instant(letter.last_failure_at)}</td>
                  <td className="text">{letter.error}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {letters.hasNextPage && (
        <button type="button" disabled={letters.isFetchingNextPage} onClick={() => void letters.fetchNextPage()}>
          Show more
        </button>
      )}
      {(shown.length > 0 || decided) && may("ops:write") && <Decide service={service} letters={all} verbs={["redrive", "skip"]} done={done} />}
    </section>
  );
}
