import { describe, expect, it } from "vitest";
import type { OrderEvent, Product } from "./api/client";
import { add, change, LINES_MAX, QUANTITY_MAX, readBasket, remember, totals } from "./basket";
import { scopes } from "./identity";
import { tell } from "./story";
import { eventLine, money } from "./words";

const TEA: Product = { sku: "tea", name: "Tea", brand: "", category: "", price: { minor: 300, currency: "USD" }, available: 5 };

describe("the basket", () => {
  it("adds units of one product to one line, and stays within what an order may be", () => {
    const one = add([], TEA, 2);
    expect(add(one, TEA, 3)).toEqual([{ sku: "tea", name: "Tea", price: TEA.price, quantity: 5 }]);
    expect(add(one, TEA, QUANTITY_MAX)[0]?.quantity).toBe(QUANTITY_MAX);
    const full = Array.from({ length: LINES_MAX }, (_, index) => ({ ...one[0]!, sku: `s${index}` }));
    expect(add(full, TEA, 1)).toBe(full);
    expect(add(full, { ...TEA, sku: "s0" }, 1)).toHaveLength(LINES_MAX);
  });

  it("takes a line out at nothing, and reads only what is a basket", () => {
    expect(change(add([], TEA, 2), "tea", 0)).toEqual([]);
    expect(change(add([], TEA, 2), "tea", Number.NaN)).toEqual([]);
    const good = add([], TEA, 2)[0];
    expect(readBasket([good, good, { ...good, sku: "x", quantity: 1.5 }, { sku: 1 }, null, "tea"])).toEqual([good]);
    expect(readBasket({ lines: [good] })).toEqual([]);
  });

  it("knows what its products were called, the latest names first to stay", () => {
    const known = remember(remember([], TEA), { ...TEA, name: "Green tea" });
    expect(known).toEqual([["tea", "Green tea"]]);
    const many = Array.from({ length: 600 }, (_, index) => ({ ...TEA, sku: `s${index}` })).reduce(remember, known);
    expect([many.length, many.at(-1)?.[0]]).toEqual([500, "s599"]);
  });

  it("sums each currency for itself", () => {
    const lines = [...add([], TEA, 2), ...add([], { ...TEA, sku: "sake", price: { minor: 900, currency: "JPY" } }, 1)];
    expect(totals(lines)).toEqual([{ minor: 600, currency: "USD" }, { minor: 900, currency: "JPY" }]);
  });
});

describe("words", () => {
  it("knows how many digits a currency has", () => {
    expect(money({ minor: 1234, currency: "USD" })).toContain("12.34");
    expect(money({ minor: 1234, currency: "JPY" })).toContain("1,234");
  });

  it("says a step, its state and why in one line", () => {
    const event = { sequence: 3, type: "SagaStepRecorded", at: "", step: "hold", state: "refused", reason: "out_of_stock" } as OrderEvent;
    expect(eventLine(event)).toBe("Stock: refused (out of stock)");
    expect(eventLine({ sequence: 1, type: "SomethingNew", at: "" })).toBe("Something new");
  });
});

describe("a story", () => {
  it("takes what follows, once", () => {
    const event = (sequence: number): OrderEvent => ({ sequence, type: "OrderPlaced", at: "" });
    const two = [1, 2].map(event).reduce(tell, [] as OrderEvent[]);
    expect(two).toHaveLength(2);
    expect(tell(two, event(2))).toBe(two);
    expect(tell(two, event(4))).toBe(two);
  });
});

describe("a token", () => {
  it("says its scopes, or nothing when it is no JWT", () => {
    const payload = btoa(JSON.stringify({ scope: "orders:read ops:read" }));
    expect(scopes(`x.${payload}.y`)).toEqual(["orders:read", "ops:read"]);
    expect(scopes("opaque")).toEqual([]);
    expect(scopes(undefined)).toEqual([]);
  });
});
