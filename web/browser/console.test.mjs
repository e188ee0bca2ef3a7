import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import pg from "pg";
import { accessible, ask, DESKTOP, holding, launch, open, PHONE, screenshot, setting, shop, stockUp, token } from "./world.mjs";

let browser;
let orders;
before(async () => {
  browser = await launch();
  orders = new pg.Client({ connectionString: setting("ORDERS_OWNER_URL") });
  await orders.connect();
  await stockUp();
});
after(async () => {
  await orders?.end();
  await browser?.close();
});

async function until(what, probe) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() < deadline, `never: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function asOperator(page) {
  await page.getByRole("banner").getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: /^Otto/ }).click();
  await page.getByRole("link", { name: "Console" }).waitFor();
}

const RECORD = "inventory.InventoryReserved";

/** An order whose saga cannot take the answer of inventory, because its state cannot be read: a dead letter; then the state is whole again. */
async function poisoned() {
  const bearer = await token("ada", "orders:read orders:write");
  const operator = await token("otto", "ops:read");
  const { id, stream, whole } = await holding("inventory", "stock", async () => {
    const placed = await ask("POST", "/v1/orders", { bearer, body: { lines: [{ sku: "test-pears", quantity: 2 }], payment: { token: "tok_ok" } } });
    assert.equal(placed.status, 202);
    const stream = `saga-${placed.body.id}`;
    const { rows } = await orders.query("UPDATE streams SET state = '\"broken\"'::json FROM (SELECT state AS whole FROM streams WHERE stream = $1) AS before WHERE stream = $1 RETURNING whole", [stream]);
    assert.equal(rows.length, 1);
    return { id: placed.body.id, stream, whole: rows[0].whole };
  });
  await until("the answer is a dead letter", async () => {
    const { body } = await ask("GET", `/v1/ops/orders/dlq/letters?correlation=${id}`, { bearer: operator });
    return body.data.some(({ state, record }) => state === "dead" && record === RECORD);
  });
  await orders.query("UPDATE streams SET state = $2::json WHERE stream = $1", [stream, JSON.stringify(whole)]);
  return id;
}

test("a customer is shown no console, and an operator's token is asked for at each path of it", async () => {
  const page = await open(browser, DESKTOP);
  await page.goto(shop());
  await page.getByRole("banner").getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: /^Ada/ }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  assert.equal(await page.getByRole("link", { name: "Console" }).count(), 0);
  await page.goto(`${shop()}/console`);
  await page.getByText("The console is for operators.").waitFor();
  const customer = await token("ada", "orders:read orders:write");
  assert.equal((await ask("GET", "/v1/ops/orders/sagas", { bearer: customer })).status, 403);
  const reader = await token("otto", "ops:read");
  assert.equal((await ask("POST", "/v1/ops/orders/dlq/skip", { bearer: reader, body: {} })).status, 403);
  await page.context().close();
});

test("an operator finds a poison message by keyboard, edits it, sends it back and sees it succeed", async () => {
  const id = await poisoned();
  const page = await open(browser, DESKTOP);
  await page.goto(shop());
  await asOperator(page);
  const key = async (locator, press = "Enter") => {
    await locator.focus();
    await page.keyboard.press(press);
  };
  await key(page.getByRole("link", { name: "Console" }));
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.getByRole("listitem").filter({ hasText: "Dead letters" }).getByText("1", { exact: true }).waitFor();
  await accessible(page, "the overview");
  await screenshot(page, "console-overview");
  await key(page.getByRole("navigation", { name: "Console" }).getByRole("link", { name: "Dead letters" }));
  await accessible(page, "the work list");
  await key(page.getByRole("link", { name: RECORD }));
  await page.getByRole("heading", { name: "Dead letters of orders" }).waitFor();
  await accessible(page, "the letters");
  await key(page.getByRole("link", { name: /inventory\.InventoryReserved/ }).first());
  await page.getByText(`Timeline of ${id}`).waitFor();
  await accessible(page, "the letter");
  await key(page.getByRole("button", { name: "Edit and send back" }));
  const body = page.getByRole("textbox", { name: "Body" });
  const original = JSON.parse(await body.inputValue());
  // what does not fit the schema is refused, with the place
  await body.fill(JSON.stringify({ ...original, reserved_at: "soon" }));
  await page.getByLabel("Why").fill("the instant was wrong");
  await key(page.getByRole("button", { name: "Validate and show what changes" }));
  await page.getByText("/reserved_at").waitFor();
  assert.equal(await page.getByRole("button", { name: "Send it back as edited" }).count(), 0);
  await body.fill(JSON.stringify({ ...original, reserved_at: 1 }, null, 2));
  await key(page.getByRole("button", { name: "Validate and show what changes" }));
  await page.locator(".diff .new").getByText('"reserved_at": 1').waitFor();
  await accessible(page, "the diff");
  await screenshot(page, "console-edit");
  await key(page.getByRole("button", { name: "Send it back as edited" }));
  await key(page.getByRole("link", { name: "See its timeline" }));
  await page.locator('[data-title="OrderConfirmed"]').waitFor();
  for (const service of ["orders", "inventory", "payments"]) {
    assert.ok((await page.locator(".timeline .service").getByText(service, { exact: true }).count()) > 0, service);
  }
  await accessible(page, "the timeline");
  await screenshot(page, "console-timeline");
  const order = await ask("GET", `/v1/orders/${id}`, { bearer: await token("ada", "orders:read") });
  assert.equal(order.body.status, "CONFIRMED");
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("letters that failed alike are sent back together, with a plan first and what became of each", async () => {
  const ids = [await poisoned(), await poisoned()];
  const page = await open(browser, PHONE);
  await page.goto(shop());
  await asOperator(page);
  await page.goto(`${shop()}/console/letters`);
  await page.getByRole("link", { name: RECORD }).first().click();
  await page.getByLabel("Why").fill("the state is whole again");
  await page.getByRole("button", { name: "Plan: send back" }).click();
  await page.getByText("2 of 2 would be sent back.").waitFor();
  await accessible(page, "the plan");
  await page.getByRole("button", { name: "send back 2 letters" }).click();
  await page.getByText("2 of 2 sent back.").waitFor();
  const bearer = await token("ada", "orders:read");
  for (const id of ids) {
    await until("the order is confirmed", async () => (await ask("GET", `/v1/orders/${id}`, { bearer })).body.status === "CONFIRMED");
  }
  // who and why are kept
  const kept = await orders.query("SELECT who, why FROM decisions WHERE decision = 'redriven'");
  assert.deepEqual(kept.rows, [1, 2].map(() => ({ who: "otto", why: "the state is whole again" })));
  await page.goto(`${shop()}/console/sagas?status=running`);
  await page.getByRole("heading", { name: "Sagas" }).waitFor();
  await accessible(page, "the sagas");
  await page.goto(`${shop()}/console/waiting`);
  await page.getByText("Nothing waits.").waitFor();
  await accessible(page, "what waits");
  assert.deepEqual(page.problems, []);
  await page.context().close();
});
