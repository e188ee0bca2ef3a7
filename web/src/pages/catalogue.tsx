import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useDeferredValue, useState } from "react";
import { useSearchParams } from "wouter";
import { answered, type Product, useApi } from "../api/client";
import { add, basket, LINES_MAX, nameOf, names, remember } from "../basket";
import { intent, isFrozen } from "../checkout";
import { useIdentity } from "../identity";
import { Refusal } from "../refusal";
import { money } from "../words";

const PAGE = 24;

export function Catalogue() {
  const api = useApi();
  const [search, setSearch] = useSearchParams();
  const category = search.get("category") ?? "";
  const text = search.get("q") ?? "";
  const asked = useDeferredValue(text.trim());
  const categories = useQuery({ queryKey: ["categories"], staleTime: 60_000, queryFn: () => answered(api.GET("/v1/categories")) });
  const products = useInfiniteQuery({
    queryKey: ["products", asked, category],
    initialPageParam: "",
    placeholderData: keepPreviousData,
    queryFn: ({ pageParam, signal }) => {
      const query = { limit: PAGE, ...(asked && { q: asked }), ...(category && { category }), ...(pageParam && { after: pageParam }) };
      return answered(api.GET("/v1/products", { params: { query }, signal }));
    },
    getNextPageParam: (page) => page.next,
  });
  const found = products.data?.pages.flatMap((page) => page.data) ?? [];
  const set = (name: string, value: string) =>
    setSearch(
      (old) => {
        const next = new URLSearchParams(old);
        if (value === "") next.delete(name);
        else next.set(name, value);
        return next;
      },
      { replace: name === "q" },
    );
  return (
    <section>
      <h1>Groceries</h1>
      <form role="search" className="search" onSubmit={(event) => event.preventDefault()}>
        <label>
          Search
          <input type="search" value={text} maxLength={100} placeholder="Name, brand or category" onChange={(event) => set("q", event.target.value)} />
        </label>
        <label>
          Category
          <select value={category} onChange={(event) => set("category", event.target.value)}>
            <option value="">All</option>
            {categories.data?.data
              .filter((each) => each.name !== "")
              .map((each) => (
                <option key={each.name} value={each.name}>
                  {each.name} ({each.products})
                </option>
              ))}
          </select>
        </label>
      </form>
      <p role="status" className="hidden">
        {products.isFetching ? "Searching" : `${found.length}${products.hasNextPage ? " or more" : ""} products`}
      </p>
      {products.isError && <Refusal error={products.error} what="The catalogue was not read." />}
      {products.isSuccess && found.length === 0 && <p>Nothing of that is in the catalogue.</p>}
      <ul className="products" aria-busy={products.isFetching}>
        {found.map((product) => (
          <Card key={product.sku} product={product} />
        ))}
      </ul>
      {products.hasNextPage && (
        <button type="button" disabled={products.isFetchingNextPage} onClick={() => void products.fetchNextPage()}>
          {products.isFetchingNextPage ? "Loading…" : "Show more"}
        </button>
      )}
    </section>
  );
}

function Card({ product }: { product: Product }) {
  const [quantity, setQuantity] = useState(1);
  const lines = basket.use();
  const frozen = isFrozen(intent.use(), useIdentity().subject);
  const inBasket = lines.find((line) => line.sku === product.sku)?.quantity ?? 0;
  const full = inBasket === 0 && lines.length >= LINES_MAX;
  const name = nameOf(product);
  const put = () => {
    names.set(remember(names.get(), product));
    basket.set(add(basket.get(), product, quantity));
  };
  return (
    <li className="card" data-sku={product.sku}>
      <h2>{name}</h2>
      <p className="dim">{[product.brand, product.category].filter((text) => text !== "" && text !== name).join(" · ") || "\u00a0"}</p>
      <p className="price">{money(product.price)}</p>
      <p className={product.available > 0 ? "dim" : "bad-text"}>{product.available > 0 ? `${product.available.toLocaleString()} available` : "Out of stock"}</p>
      <div className="buy">
        <label>
          <span className="hidden">Quantity of {name}</span>
          <input type="number" inputMode="numeric" min={1} max={1_000_000} value={quantity} onChange={(event) => setQuantity(Math.max(1, Math.trunc(event.target.valueAsNumber) || 1))} />
        </label>
        <button type="button" disabled={frozen || full} aria-label={`Add ${name} to the basket`} onClick={put}>
          Add
        </button>
      </div>
      <p className="dim" role="status">
        {full ? `An order has at most ${LINES_MAX} products.` : inBasket > 0 ? `${inBasket.toLocaleString()} in your basket` : "\u00a0"}
      </p>
    </li>
  );
}
