import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { answered, useApi } from "../api/client";
import { useIdentity } from "../identity";
import { Refusal } from "../refusal";
import { instant, money, STATUS } from "../words";

export function History() {
  const api = useApi();
  const { subject } = useIdentity();
  const orders = useInfiniteQuery({
    queryKey: ["orders", subject],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) => answered(api.GET("/v1/orders", { params: { query: { limit: 20, ...(pageParam && { after: pageParam }) } }, signal })),
    getNextPageParam: (page) => page.next,
    refetchInterval: (query) => (query.state.data?.pages[0]?.data.some((order) => order.status === "PENDING") === true ? 3_000 : false),
  });
  const all = orders.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section>
      <h1>My orders</h1>
      {orders.isError && <Refusal error={orders.error} what="Your orders were not read." />}
      {orders.isPending && <p role="status">Loading…</p>}
      {orders.isSuccess && all.length === 0 && (
        <p>
          You have not ordered yet. <Link href="/">Go to the shop</Link>
        </p>
      )}
      <ul className="orders">
        {all.map((order) => (
          <li key={order.id}>
            <Link href={`/orders/${order.id}`}>
              <span className={`badge ${order.status}`}>{STATUS[order.status]}</span>
              <span>{instant(order.placed_at)}</span>
              <span>
                {order.lines.length} {order.lines.length === 1 ? "product" : "products"}
              </span>
              <strong>{money(order.total)}</strong>
            </Link>
          </li>
        ))}
      </ul>
      {orders.hasNextPage && (
        <button type="button" disabled={orders.isFetchingNextPage} onClick={() => void orders.fetchNextPage()}>
          Show older
        </button>
      )}
    </section>
  );
}
