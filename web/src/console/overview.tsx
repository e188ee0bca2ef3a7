import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { Link } from "wouter";
import { Refusal } from "../refusal";
import { type Groups, type Letters, type Sagas, SERVICES, useOps } from "./api";
import { parse, rate, rateOfAll, type Sample, sum } from "./metrics";

const EVERY_MS = 2_000;
/** Two minutes of readings. */
const KEPT = 60;

interface Reading {
  at: number;
  gateway: { instance: string; samples: Sample[] };
  services: Record<string, Sample[]>;
}

const placed = (samples: Sample[]) =>
  sum(samples, "http_server_request_duration_seconds_count", { http_request_method: "POST", http_route: "/v1/orders", http_response_status_code: "202" }) +
  sum(samples, "http_server_request_duration_seconds_count", { http_request_method: "POST", http_route: "/v1/orders", http_response_status_code: "200" });

export function Overview() {
  const ops = useOps();
  const [history, setHistory] = useState<Reading[]>([]);
  const reading = useQuery({
    queryKey: ["console", "metrics"],
    refetchInterval: EVERY_MS,
    queryFn: async ({ signal }): Promise<Reading> => {
      const gateway = await ops.figures("gateway", signal);
      const services = await Promise.all(SERVICES.map(async (service) => [service, parse((await ops.figures(service, signal)).text)] as const));
      return { at: Date.now(), gateway: { instance: gateway.instance, samples: parse(gateway.text) }, services: Object.fromEntries(services) };
    },
  });
  useEffect(() => {
    if (reading.data !== undefined) setHistory((old) => [...old, reading.data].slice(-KEPT));
  }, [reading.data]);
  const work = useQuery({
    queryKey: ["console", "work"],
    refetchInterval: EVERY_MS,
    queryFn: async ({ signal }) => {
      const [running, stuck] = await Promise.all(["running", "stuck"].map((status) => ops.get<Sagas>("orders", "sagas", { status, limit: 500 }, signal)));
      const groups = await Promise.all(SERVICES.map((service) => ops.get<Groups>(service, "dlq/groups", {}, signal)));
      const waiting = await Promise.all(SERVICES.map((service) => ops.get<Letters>(service, "retry/waiting", { limit: 500 }, signal)));
      return { running, stuck, dead: groups.flatMap(({ data }) => data).reduce((total, { letters }) => total + letters, 0), waiting };
    },
  });
  const series = (value: (now: Reading, before: Reading | undefined) => number) => history.map((now, index) => value(now, history[index - 1]));
  const everywhere = (name: string, join: (values: number[]) => number) => series(({ services }) => join(Object.values(services).map((samples) => sum(samples, name))));
  const total = (values: number[]) => values.reduce((all, value) => all + value, 0);
  const perSecond = (value: (of: Reading) => number) => series((now, before) => (before === undefined ? 0 : rate(value(before), value(now), (now.at - before.at) / 1_000)));
  const orders = history.map(({ at, gateway }) => ({ at, instance: gateway.instance, value: placed(gateway.samples) }));
  return (
    <section>
      <h1>Overview</h1>
      {reading.isError && <Refusal error={reading.error} what="The figures were not read." />}
      {work.isError && <Refusal error={work.error} what="The work in hand was not read." />}
      <ul className="numbers">
        <Plot name="Orders placed a second" values={orders.map((_, index) => rateOfAll(orders.slice(0, index + 1)))} digits={1} />
        <Plot name="Messages published a second" values={perSecond(({ services }) => total(Object.values(services).map((samples) => sum(samples, "relay_rows_total"))))} digits={0} />
        <Plot name="Lag of all groups, messages" values={everywhere("consumer_lag_records", total)} digits={0} />
        <Plot name="Oldest unsent message, seconds" values={everywhere("outbox_oldest_unsent_age_seconds", (values) => Math.max(0, ...values))} digits={1} />
        <Count name="Open sagas" href="/console/sagas?status=running" page={work.data?.running} />
        <Count name="Stuck sagas" href="/console/sagas?status=stuck" page={work.data?.stuck} />
        <li>
          <Link href="/console/letters">Dead letters</Link>
          <strong>{work.data?.dead.toLocaleString() ?? "…"}</strong>
        </li>
        <li>
          <Link href="/console/waiting">Waiting to be tried again</Link>
          <strong>{work.data === undefined ? "…" : `${work.data.waiting.reduce((all, { data }) => all + data.length, 0).toLocaleString()}${work.data.waiting.some(({ next }) => next !== null) ? " or more" : ""}`}</strong>
        </li>
      </ul>
      <Steps page={work.data?.running} />
      <Groupwise reading={history.at(-1)} />
    </section>
  );
}

function Plot({ name, values, digits }: { name: string; values: number[]; digits: number }) {
  const most = Math.max(1, ...values);
  const points = values.map((value, index) => `${(index / (KEPT - 1)) * 100},${38 - (value / most) * 36}`).join(" ");
  return (
    <li>
      {name}
      <strong>{values.at(-1)?.toLocaleString(undefined, { maximumFractionDigits: digits }) ?? "…"}</strong>
      <svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label={`${name}, the last two minutes: at most ${most.toLocaleString(undefined, { maximumFractionDigits: digits })}`}>
        <polyline points={points} />
      </svg>
    </li>
  );
}

function Count({ name, href, page }: { name: string; href: string; page: Sagas | undefined }) {
  return (
    <li>
      <Link href={href}>{name}</Link>
      <strong>{page === undefined ? "…" : `${page.data.length.toLocaleString()}${page.next === null ? "" : " or more"}`}</strong>
    </li>
  );
}

function Steps({ page }: { page: Sagas | undefined }) {
  const counts = new Map<string, number>();
  for (const { step } of page?.data ?? []) counts.set(step, (counts.get(step) ?? 0) + 1);
  return (
    <>
      <h2>Open sagas by step</h2>
      {counts.size === 0 ? <p className="dim">None is open.</p> : <ul className="steps">{[...counts].map(([step, count]) => <li key={step}>{`${step}: ${count}`}</li>)}</ul>}
    </>
  );
}

function Groupwise({ reading }: { reading: Reading | undefined }) {
  const topics = SERVICES.flatMap((service) => (reading?.services[service] ?? []).filter(({ name }) => name === "consumer_lag_records").map(({ labels, value }) => ({ service, labels, value })));
  return (
    <>
      <h2>Where each group stands</h2>
      <div className="wide" tabIndex={0} role="region" aria-label="Where each group stands">
        <table>
          <thead>
            <tr>
              <th scope="col">Group</th>
              <th scope="col">What it reads</th>
              <th scope="col">Behind by, messages</th>
            </tr>
          </thead>
          <tbody>
            {topics.map(({ service, labels, value }) => (
              <tr key={service + JSON.stringify(labels)}>
                <th scope="row">{service}</th>
                <td>{Object.values(labels).join(" ")}</td>
                <td>{value.toLocaleString()}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
