import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { Link } from "wouter";
import { answered, type Order, Problem, useApi } from "../api/client";
import { names } from "../basket";
import { Refusal } from "../refusal";
import { type Connection, useStory } from "../story";
import { eventLine, explain, instant, money, STATUS } from "../words";

const CONNECTION: Record<Connection, string> = {
  connecting: "Connecting…",
  live: "Live",
  waiting: "The connection is gone; it comes back by itself.",
  ended: "Complete",
  failed: "This order's story cannot be read.",
};

export function OrderPage({ id }: { id: string }) {
  const api = useApi();
  const queries = useQueryClient();
  const story = useStory(id);
  const key = ["order", id];
  const order = useQuery({ queryKey: key, queryFn: ({ signal }) => answered(api.GET("/v1/orders/{id}", { params: { path: { id } }, signal })) });
  const told = story.events.length;
  // each thing that happens may have changed the order; the answer says how
  useEffect(() => {
    if (told > 0) void queries.invalidateQueries({ queryKey: ["order", id] });
  }, [told, id, queries]);
  const cancel = useMutation({
    mutationFn: () => answered(api.POST("/v1/orders/{id}/cancel", { params: { path: { id } } })),
    onSettled: () => queries.invalidateQueries({ queryKey: key }),
  });
  if (order.isError) {
    const missing = order.error instanceof Problem && order.error.status === 404;
    return (
      <section>
        <h1>Order</h1>
        {missing ? <p>You have no such order.</p> : <Refusal error={order.error} what="The order was not read." />}
        <Link href="/orders">My orders</Link>
      </section>
    );
  }
  return (
    <section>
      <h1>Order</h1>
      {order.data === undefined ? (
        <p role="status">Loading…</p>
      ) : (
        <>
          <Standing order={order.data} />
          {order.data.status === "PENDING" && (
            <button type="button" disabled={cancel.isPending} onClick={() => cancel.mutate()}>
              Cancel this order
            </button>
          )}
          {cancel.isSuccess && order.data.status === "PENDING" && <p role="status">Cancelling: what was paid or reserved is being undone.</p>}
          {cancel.isError &&
            (cancel.error instanceof Problem && cancel.error.code === "order_already_confirmed" ? (
              <p role="alert" className="notice warn">
                It was confirmed before you cancelled, and stays so.
              </p>
            ) : (
              <Refusal error={cancel.error} what="It was not cancelled." />
            ))}
        </>
      )}
      <h2>What happened</h2>
      <p className="dim" role="status" data-connection={story.connection}>
        {CONNECTION[story.connection]}
      </p>
      <ol className="story" aria-live="polite">
        {story.events.map((event) => (
          <li key={event.sequence} data-type={event.type}>
            <span>{eventLine(event)}</span> <time dateTime={event.at}>{new Date(event.at).toLocaleTimeString()}</time>
          </li>
        ))}
      </ol>
      {order.data !== undefined && <Lines order={order.data} />}
    </section>
  );
}

function Standing({ order }: { order: Order }) {
  return (
    <div className="standing" role="status" data-status={order.status}>
      <p>
        <span className={`badge ${order.status}`}>{STATUS[order.status]}</span> <strong>{money(order.total)}</strong>
      </p>
      <p>{explain(order)}</p>
      <p className="dim">
        Placed {instant(order.placed_at)} · <code>{order.id}</code>
      </p>
    </div>
  );
}

function Lines({ order }: { order: Order }) {
  const known = new Map(names.use());
  return (
    <>
      <h2>Products</h2>
      <table className="lines">
        <thead>
          <tr>
            <th scope="col">Product</th>
            <th scope="col">Quantity</th>
            <th scope="col">Each</th>
          </tr>
        </thead>
        <tbody>
          {order.lines.map((line) => (
            <tr key={line.sku}>
              <th scope="row">{known.get(line.sku) ?? line.sku}</th>
              <td>{line.quantity.toLocaleString()}</td>
              <td>{money(line.unit_price)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
