import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { useApi } from "../api/client";
import { basket, change, totals } from "../basket";
import { checkOut, intent, isFrozen, type State } from "../checkout";
import { useIdentity } from "../identity";
import { Refusal } from "../refusal";
import { money } from "../words";

/** The moods of the payment simulator; a real provider's form gives a token of its own. */
const CARDS = [
  { token: "tok_ok", name: "A card that is accepted" },
  { token: "tok_declined", name: "A card that is declined" },
  { token: "tok_slow", name: "A bank that answers slowly" },
  { token: "tok_flaky", name: "A bank that fails at first" },
];

export function Basket() {
  const lines = basket.use();
  const { subject, signIn } = useIdentity();
  const open = intent.use();
  const frozen = isFrozen(open, subject);
  const [card, setCard] = useState("tok_ok");
  const { state, press } = useCheckout(subject, card);
  const busy = state.is === "sending" || state.is === "waiting";
  const unfinished = open !== null && open.subject === subject && !busy;
  return (
    <section>
      <h1>Basket</h1>
      {lines.length === 0 && !unfinished ? (
        <p>
          Nothing is in it. <Link href="/">Go to the shop</Link>
        </p>
      ) : (
        <>
          <table className="lines">
            <thead>
              <tr>
                <th scope="col">Product</th>
                <th scope="col">Each</th>
                <th scope="col">Quantity</th>
                <th scope="col">
                  <span className="hidden">Remove</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {lines.map((line) => (
                <tr key={line.sku}>
                  <th scope="row">{line.name}</th>
                  <td>{money(line.price)}</td>
                  <td>
                    <input
                      type="number"
                      inputMode="numeric"
                      aria-label={`Quantity of ${line.name}`}
                      min={1}
                      max={1_000_000}
                      value={line.quantity}
                      disabled={frozen}
                      onChange={(event) => {
                        if (event.target.valueAsNumber >= 1) basket.set(change(basket.get(), line.sku, event.target.valueAsNumber));
                      }}
                    />
                  </td>
                  <td>
                    <button type="button" disabled={frozen} aria-label={`Remove ${line.name}`} onClick={() => basket.set(change(basket.get(), line.sku, 0))}>
                      Remove
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <p className="total">
            Together <strong>{totals(lines).map(money).join(" + ")}</strong> <span className="dim">at the prices you saw; the order is priced as it is placed.</span>
          </p>
          <label className="cards">
            Pay with
            <select value={card} disabled={frozen} onChange={(event) => setCard(event.target.value)}>
              {CARDS.map(({ token, name }) => (
                <option key={token} value={token}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          {subject === null ? (
            <button type="button" className="primary" onClick={() => void signIn("/basket")}>
              Sign in to order
            </button>
          ) : (
            <button type="button" className="primary" aria-disabled={busy} onClick={press}>
              {busy ? "Placing your order…" : unfinished ? "Finish your order" : "Place the order"}
            </button>
          )}
          <Progress state={state} unfinished={unfinished} />
        </>
      )}
    </section>
  );
}

function useCheckout(subject: string | null, card: string) {
  const api = useApi();
  const queries = useQueryClient();
  const [, go] = useLocation();
  const [state, setState] = useState<State>({ is: "idle" });
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);
  const press = () => {
    // a second press joins the first
    if (subject === null || running.current !== null) return;
    const stop = new AbortController();
    running.current = stop;
    const tell = (next: State) => {
      if (!stop.signal.aborted) setState(next);
    };
    void checkOut(card, { api, subject, tell, signal: stop.signal })
      .then((order) => {
        if (order === null || stop.signal.aborted) return;
        void queries.invalidateQueries({ queryKey: ["orders"] });
        go(`/orders/${order.id}`);
      })
      .finally(() => {
        if (running.current === stop) running.current = null;
      });
  };
  return { state, press };
}

function Progress({ state, unfinished }: { state: State; unfinished: boolean }) {
  return (
    <>
      <div role="status">
        {state.is === "waiting" && (
          <p className="notice warn">{state.why} It is tried again by itself. However often that takes, it stays one order.</p>
        )}
        {state.is === "idle" && unfinished && (
          <p className="notice warn">An order was begun here and nobody has heard what became of it. Finish it: if it had arrived already, you get that very order.</p>
        )}
      </div>
      {state.is === "refused" && <Refusal error={state.problem} what="Your order was not placed." />}
      {state.is === "signed-out" && (
        <p role="alert" className="notice bad">
          Your sign-in has ended. Sign in again, then press once more: it stays one order.
        </p>
      )}
      {state.is === "stale" && <Stale />}
    </>
  );
}

function Stale() {
  return (
    <div role="alert" className="notice bad">
      <p>
        This order was begun a day ago. Look in <Link href="/orders">your orders</Link> first; if it is not there, start anew.
      </p>
      <button type="button" onClick={() => intent.set(null)}>
        It is not there: start anew
      </button>
    </div>
  );
}
