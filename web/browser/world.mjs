// The running system as the tests use it: `stack with … npm run browser` says where it is.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import pg from "pg";
import { chromium } from "playwright-core";

const axeSource = readFileSync(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

export const DESKTOP = { name: "desktop", options: { viewport: { width: 1280, height: 900 } } };
export const PHONE = { name: "phone", options: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 } };

/** Longest wait for anything: a loaded machine is slow, and a test that waits for a condition loses nothing by it. */
const WITHIN_MS = 45_000;

export function setting(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: run this through "stack with --secure"`);
  return value;
}

/** Where programs ask. */
export const gateway = () => setting("GATEWAY_URL");

/** Where people come in: by the edge where there is one. */
export const shop = () => setting("STOREFRONT_URL");

export async function launch() {
  const executablePath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => path && existsSync(path));
  assert.ok(executablePath, "no Chromium: apt-get install chromium");
  // as root, and in containers, Chromium has no sandbox of its own
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/** A page of a browser of its own: nothing kept from another test. */
export async function open(browser, { options }, more = {}) {
  const context = await browser.newContext({ locale: "en-GB", reducedMotion: "reduce", ...options, ...more });
  context.setDefaultTimeout(WITHIN_MS);
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) page.problems.push(message.text());
  });
  return page;
}

export async function token(subject, scope) {
  const form = new URLSearchParams({ grant_type: "client_credentials", client_id: subject, client_secret: "any", scope });
  const answer = await fetch(setting("TOKEN_URL"), { method: "POST", body: form });
  assert.equal(answer.status, 200);
  return (await answer.json()).access_token;
}

export async function ask(method, path, { bearer, body, headers } = {}) {
  const answer = await fetch(gateway() + path, {
    method,
    headers: { ...(bearer && { authorization: `Bearer ${bearer}` }), ...(body && { "content-type": "application/json", "idempotency-key": randomUUID() }), ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text === "" ? null : JSON.parse(text) };
}

/** The real catalogue, as much of it as a page can show several times over, and products for single tests. */
export async function stockUp() {
  const bearer = await token("otto", "stock:write");
  const data = gunzipSync(readFileSync(new URL("../../bench/data/products.csv.gz", import.meta.url))).toString("utf8");
  const [, ...rows] = data.trim().split("\n");
  const products = rows.slice(0, 600).map((row) => {
    const [sku, , brand, category, type, size, price] = row.split(",");
    const words = [type, size].filter((word) => word !== "").join(", ");
    return { sku, name: words, category, brand, price: { minor: Number(price), currency: "USD" }, stock: 500 };
  });
  const own = (sku, name, stock) => ({ sku, name, category: "SEASONAL", brand: "Orchard", price: { minor: 350, currency: "USD" }, stock });
  // once for all tests of a system
  const known = await ask("GET", "/v1/products?limit=1&q=quinces");
  if (known.body.data.length > 0) return;
  products.push(own("test-apples", "Apples, 1 kg", 100_000), own("test-pears", "Pears, 1 kg", 100_000), own("test-quinces", "Quinces, 1 kg", 2));
  const answer = await ask("POST", "/v1/products", { bearer, body: products });
  assert.ok([201, 202].includes(answer.status), JSON.stringify(answer.body));
  for (;;) {
    // prices may still be on their way to order-service
    const probe = await ask("POST", "/v1/orders", { bearer: await token("probe", "orders:write"), body: { lines: [{ sku: "test-quinces", quantity: 100 }], payment: { token: "tok_ok" } } });
    if (probe.status === 202) return;
    assert.equal(probe.status, 422, JSON.stringify(probe.body));
    await new Promise((done) => setTimeout(done, 200));
  }
}

/**
 * Nobody writes to `table` of the service's database while `work` goes on: what waits for it waits until the test lets it go on, however slow
 * the machine is.
 */
export async function holding(database, table, work) {
  const db = new pg.Client({ connectionString: setting(`${database.toUpperCase()}_OWNER_URL`) });
  await db.connect();
  try {
    await db.query("BEGIN");
    await db.query(`LOCK TABLE ${table} IN EXCLUSIVE MODE`);
    const done = await work();
    await db.query("COMMIT");
    return done;
  } finally {
    await db.end();
  }
}

/** Signs in by the provider's own page as a customer nobody was before; its name. */
export async function signInAsNew(page) {
  const name = `cust-${randomUUID().slice(0, 8)}`;
  await signInAs(page, name);
  return name;
}

export async function signInAs(page, name) {
  await page.getByRole("banner").getByRole("button", { name: "Sign in" }).click();
  await page.getByLabel("Somebody else").fill(name);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

export async function ordersOf(name) {
  const answer = await ask("GET", "/v1/orders?limit=100", { bearer: await token(name, "orders:read") });
  assert.equal(answer.status, 200);
  return answer.body.data;
}

export async function putIntoBasket(page, text, sku, quantity) {
  await page.getByRole("searchbox", { name: "Search" }).fill(text);
  const card = page.locator(`[data-sku="${sku}"]`);
  await card.getByRole("spinbutton").fill(String(quantity));
  await card.getByRole("button", { name: /^Add/ }).click();
  await card.getByText("in your basket").waitFor();
}

export async function standing(page, status) {
  await page.locator(`[data-status="${status}"]`).waitFor();
}

/** No serious issue in light and in dark. */
export async function accessible(page, what) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    // through the protocol, past the page's own policy
    if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axeSource);
    const found = await page.evaluate(async () => {
      const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
      const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      return serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ; ")}`);
    });
    assert.deepEqual(found, [], `${what}, ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
}

/** Written only when asked for: SCREENSHOTS=folder. */
export async function screenshot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  const client = await page.context().newCDPSession(page);
  const { data } = await client.send("Page.captureScreenshot", { format: "webp", quality: 80 });
  writeFileSync(`${folder}/${name}.webp`, Buffer.from(data, "base64"));
}
