import { useInfiniteQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { Refusal } from "../refusal";
import { instant } from "../words";
import { type Sagas, useOps } from "./api";

export function SagaList() {
  const ops = useOps();
  const [search, setSearch] = useSearchParams();
  const [, go] = useLocation();
  const [id, setId] = useState("");
  const status = search.get("status") ?? "stuck";
  const step = search.get("step") ?? "";
  const sagas = useInfiniteQuery({
    queryKey: ["console", "sagas", status],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) => ops.get<Sagas>("orders", "sagas", { status, limit: 100, after: pageParam }, signal),
    getNextPageParam: (page) => page.next,
    refetchInterval: 5_000,
  });
  const all = sagas.data?.pages.flatMap(({ data }) => data) ?? [];
  const shown = step === "" ? all : all.filter((saga) => saga.step === step);
  const steps = [...new Set(all.map((saga) => saga.step))].sort();
  const set = (name: string, value: string) =>
    setSearch((old) => {
      const next = new URLSearchParams(old);
      if (value === "") next.delete(name);
      else next.set(name, value);
      return next;
    });
  const find = (event: FormEvent) => {
    event.preventDefault();
    if (id.trim() !== "") go(`/console/sagas/${encodeURIComponent(id.trim())}`);
  };
  return (
    <section>
      <h1>Sagas</h1>
      <form className="filters" onSubmit={find}>
        <label>
          Status
          <select value={status} onChange={(event) => set("status", event.target.value)}>
            <option value="stuck">Stuck: a person moves them on</option>
            <option value="running">Running</option>
          </select>
        </label>
        <label>
          Step
          <select value={step} onChange={(event) => set("step", event.target.value)}>
            <option value="">All</option>
            {steps.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        <label>
          Order id
          <input value={id} onChange={(event) => setId(event.target.value)} size={38} />
        </label>
        <button type="submit">Show its timeline</button>
      </form>
      {sagas.isError && <Refusal error={sagas.error} what="The sagas were not read." />}
      {sagas.isSuccess && shown.length === 0 && <p>None.</p>}
      {shown.length > 0 && (
        <div className="wide" tabIndex={0} role="region" aria-label="Sagas">
          <table>
            <thead>
              <tr>
                {["Order", "Status", "Step", "Cause", "Deadline", "Last change"].map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {shown.map((saga) => (
                <tr key={saga.id}>
                  <th scope="row">
                    <Link href={`/console/sagas/${saga.id}`}>
                      <code>{saga.id}</code>
                    </Link>
                  </th>
                  <td>
                    <span className={`badge ${saga.status}`}>{saga.status}</span>
                  </td>
                  <td>{saga.step}</td>
                  <td>{saga.stuck_reason ?? saga.cause}</td>
                  <td>{saga.deadline_at !== null && instant(saga.deadline_at)}</td>
                  <td>{instant(saga.updated_at)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {sagas.hasNextPage && (
        <button type="button" disabled={sagas.isFetchingNextPage} onClick={() => void sagas.fetchNextPage()}>
          Show more
        </button>
      )}
    </section>
  );
}
