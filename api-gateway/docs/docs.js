// Renders openapi.json: operations with parameters, answers and a form to try them, then the types. No library, no other host.
"use strict";

const make = (tag, content, attributes = {}) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  for (const part of [content].flat()) if (part !== undefined && part !== null) element.append(part);
  return element;
};

const nameOf = (reference) => reference.split("/").pop();

// A schema in one line, with links to the types it names.
const brief = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return make("a", nameOf(schema.$ref), { href: `#type-${nameOf(schema.$ref)}` });
  const alternatives = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (alternatives) return make("span", alternatives.flatMap((one, index) => (index ? [" or ", brief(one)] : [brief(one)])));
  if (schema.type === "array") return make("span", ["list of ", brief(schema.items)]);
  const facts = [[schema.type].flat().join(" or "), schema.format, schema.pattern].filter(Boolean);
  if (schema.enum) facts.push(`one of ${schema.enum.join(", ")}`);
  if (schema.minimum !== undefined) facts.push(`≥ ${schema.minimum}`);
  if (schema.maximum !== undefined) facts.push(`≤ ${schema.maximum}`);
  if (schema.maxLength !== undefined) facts.push(`at most ${schema.maxLength} characters`);
  return facts.join(", ");
};

const rows = (head, body) =>
  make("table", [make("thead", make("tr", head.map((text) => make("th", text)))), make("tbody", body.map((cells) => make("tr", cells.map((cell) => make("td", cell)))))]);

// Text with `code` in it, and links to problems.
const prose = (text = "") =>
  make("span", text.split(/(\[`[^`]+`\]\([^)]+\)|`[^`]+`)/).map((part) => {
    const link = part.match(/^\[`([^`]+)`\]\(([^)]+)\)$/);
    if (link) return make("a", make("code", link[1]), { href: link[2] });
    return part.startsWith("`") && part.length > 2 ? make("code", part.slice(1, -1)) : part;
  }));

const example = (schema, schemas, depth = 0) => {
  if (!schema || depth > 6) return null;
  if (schema.$ref) return example(schemas[nameOf(schema.$ref)], schemas, depth + 1);
  if (schema.examples) return schema.examples[0];
  if (schema.oneOf) return example(schema.oneOf[0], schemas, depth + 1);
  const type = [schema.type].flat()[0];
  if (type === "array") return [example(schema.items, schemas, depth + 1)];
  if (type === "object") return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, one]) => [name, example(one, schemas, depth + 1)]));
  if (type === "integer" || type === "number") return schema.minimum ?? 1;
  return schema.enum ? schema.enum[0] : "text";
};

const tryOut = (path, method, operation, schemas) => {
  const inputs = (operation.parameters ?? []).map((parameter) => {
    const input = make("input", undefined, { name: parameter.name });
    if (parameter.name === "Idempotency-Key") input.value = crypto.randomUUID();
    return { parameter, input };
  });
  const content = operation.requestBody?.content["application/json"];
  const body = content && make("textarea", JSON.stringify(example(content.schema, schemas), null, 2), { rows: 8 });
  const answer = make("pre", "", { "aria-live": "polite", hidden: "" });
  const form = make("form", [...inputs.map(({ parameter, input }) => make("label", [`${parameter.name} `, input])), body, make("button", "Send"), answer]);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const headers = {}, query = new URLSearchParams();
    let target = path;
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (!input.value) continue;
      else if (parameter.in === "query") query.set(parameter.name, input.value);
      else headers[parameter.name] = input.value;
    }
    const token = document.getElementById("token").value.trim();
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body) headers["Content-Type"] = "application/json";
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const response = await fetch(query.size ? `${target}?${query}` : target, { method: method.toUpperCase(), headers, body: body?.value });
      const head = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      answer.textContent = `${response.status}\n${head}\n\n`;
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      for (let part; reader && !(part = await reader.read()).done; ) answer.textContent += part.value;
    } catch (error) {
      answer.textContent = String(error);
    }
  });
  return make("details", [make("summary", "Try it"), form]);
};

const show = (path, method, operation, schemas) => {
  const scope = operation.security?.flatMap((way) => way.bearer ?? []).join(" ");
  const parameters = (operation.parameters ?? []).map((one) => [one.name, one.required ? "required" : one.in, brief(one.schema), prose(one.description)]);
  const answers = Object.entries(operation.responses).map(([status, one]) => [
    status,
    Object.entries(one.content ?? {}).flatMap(([type, content]) => [brief(content.schema), ` ${type}`]),
    prose(one.description),
  ]);
  const body = operation.requestBody?.content["application/json"].schema;
  return make("article", [
    make("h3", [make("span", method.toUpperCase(), { class: "method" }), make("code", path), make("span", scope ? `scope ${scope}` : "public", { class: "scope" })]),
    make("p", [make("strong", operation.summary), ". ", prose(operation.description)]),
    parameters.length ? rows(["Parameter", "", "Type", ""], parameters) : undefined,
    body ? make("p", ["Body: ", brief(body)]) : undefined,
    rows(["Answer", "Body", ""], answers),
    tryOut(path, method, operation, schemas),
  ], { id: operation.operationId });
};

(async () => {
  const api = await (await fetch("/openapi.json")).json();
  const schemas = api.components.schemas;
  document.getElementById("title").textContent = api.info.title;
  document.getElementById("about").replaceChildren(prose(api.info.description), " The document: ", make("a", "openapi.json", { href: "/openapi.json" }));
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      document.getElementById("index").append(make("a", [make("span", method.toUpperCase(), { class: "method" }), `${path} — ${operation.summary}`], { href: `#${operation.operationId}` }));
      document.getElementById("operations").append(show(path, method, operation, schemas));
    }
  }
  for (const [name, schema] of Object.entries(schemas)) {
    const fields = Object.entries(schema.properties ?? {}).map(([field, one]) => [field, schema.required?.includes(field) ? "required" : "", brief(one), prose(one.description)]);
    document.getElementById("schemas").append(make("article", [
      make("h3", make("code", name)),
      make("p", prose(schema.description)),
      fields.length ? rows(["Field", "", "Type", ""], fields) : make("p", brief(schema)),
    ], { id: `type-${name}` }));
  }
})();
