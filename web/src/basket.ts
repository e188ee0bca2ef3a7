import type { Money, Product } from "./api/client";
import { Kept } from "./kept";

/** One line of the basket: what was seen when it was put there. The server prices the order. */
export interface Line {
  sku: string;
  name: string;
  price: Money;
  quantity: number;
}

/** As the API takes them (openapi.json: Quantity, PlaceOrder.lines). */
export const QUANTITY_MAX = 1_000_000;
export const LINES_MAX = 200;

function isLine(value: unknown): value is Line {
  const line = value as Partial<Line> | null;
  const price = line?.price as Partial<Money> | undefined;
  return (
    typeof line?.sku === "string" && typeof line.name === "string" && Number.isInteger(line.quantity) && (line.quantity ?? 0) > 0 &&
    (line.quantity ?? 0) <= QUANTITY_MAX && Number.isInteger(price?.minor) && typeof price?.currency === "string"
  );
}

/** What is stored, as far as it is a basket. */
export function readBasket(stored: unknown): Line[] {
  const lines = Array.isArray(stored) ? stored.filter(isLine) : [];
  return lines.filter((line, index) => lines.findIndex((other) => other.sku === line.sku) === index).slice(0, LINES_MAX);
}

export const basket = new Kept<Line[]>("basket", readBasket);

/** `lines` with `more` units of `product`; unchanged where the basket is full. */
export function add(lines: Line[], product: Product, more: number): Line[] {
  const found = lines.find((line) => line.sku === product.sku);
  if (found === undefined && lines.length >= LINES_MAX) return lines;
  const quantity = Math.min((found?.quantity ?? 0) + more, QUANTITY_MAX);
  const line = { sku: product.sku, name: nameOf(product), price: product.price, quantity };
  return found === undefined ? [...lines, line] : lines.map((other) => (other.sku === line.sku ? line : other));
}

/** `lines` with `quantity` units of `sku`; none takes the line out. */
export function change(lines: Line[], sku: string, quantity: number): Line[] {
  const units = Math.min(Math.max(Math.trunc(quantity) || 0, 0), QUANTITY_MAX);
  return lines.flatMap((line) => (line.sku !== sku ? [line] : units === 0 ? [] : [{ ...line, quantity: units }]));
}

const NAMES_MAX = 500;

function readNames(stored: unknown): [string, string][] {
  const isName = (pair: unknown): pair is [string, string] => Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === "string");
  return Array.isArray(stored) ? stored.filter(isName).slice(-NAMES_MAX) : [];
}

/** What products were called when they were put into a basket here: an order names SKUs only. */
export const names = new Kept<[string, string][]>("names", readNames);

/** `known` with the name of one more product; the oldest go when there are too many. */
export function remember(known: [string, string][], product: Product): [string, string][] {
  return [...known.filter(([sku]) => sku !== product.sku), [product.sku, nameOf(product)] as [string, string]].slice(-NAMES_MAX);
}

/** What the basket costs at the prices seen; one amount for each currency. */
export function totals(lines: Line[]): Money[] {
  const sums = new Map<string, number>();
  for (const { price, quantity } of lines) sums.set(price.currency, (sums.get(price.currency) ?? 0) + price.minor * quantity);
  return [...sums].map(([currency, minor]) => ({ minor, currency }));
}

/** Part of the real catalogue has no name of its own. */
export function nameOf(product: Pick<Product, "sku" | "name" | "category">): string {
  return product.name || product.category || `Product ${product.sku}`;
}
