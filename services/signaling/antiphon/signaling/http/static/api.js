// The page /docs: shows /openapi.json, and loads nothing else.
//
// All text of the document is set as text, never as markup.

/** An element with attributes and children; a string is a text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Text with `code` between backquotes. */
function prose(text, name = "p") {
  const parts = text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
  return make(name, {}, ...parts);
}

/** What a $ref stands for; anything else as it is. */
function resolved(api, value) {
  if (!value?.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, key) => at[key], api);
}

/** A schema in one line: its name, or what it takes. */
function short(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.const !== undefined) return String(schema.const);
  const type = [schema.type ?? "any"].flat().join(" | ");
  if (schema.type === "array") return `${short(schema.items)}[]`;
  return schema.pattern ? `${type} ${schema.pattern}` : type;
}

function table(heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => make("th", {scope: "col"}, text)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function row(...cells) {
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

function parameters(api, operation) {
  const all = (operation.parameters ?? []).map((each) => ({...resolved(api, each), ...withoutRef(each)}));
  if (!all.length) return [];
  const rows = all.map((each) => row(
    make("code", {}, each.name), each.required ? `${each.in}, required` : each.in,
    make("code", {}, short(resolved(api, each.schema))), prose(each.description ?? "", "span")));
  return [make("h3", {}, "Parameters"), table(["name", "in", "takes", "what"], rows)];
}

function withoutRef({$ref, ...others}) {
  return others;
}

function contents(content) {
  return Object.entries(content ?? {}).map(([type, each]) => `${type}: ${short(each.schema)}`).join("\n");
}

function bodies(operation) {
  if (!operation.requestBody) return [];
  return [make("h3", {}, "Body"), make("pre", {}, contents(operation.requestBody.content))];
}

function answers(api, operation) {
  const rows = Object.entries(operation.responses).map(([status, each]) => {
    const answer = resolved(api, each);
    const headers = Object.keys(answer.headers ?? {});
    const cell = make("div", {}, prose(answer.description, "div"));
    if (headers.length) cell.append(make("div", {class: "summary"}, `headers: ${headers.join(", ")}`));
    return row(make("code", {}, status), make("code", {}, contents(answer.content)), cell);
  });
  return [make("h3", {}, "Answers"), table(["status", "body", "what"], rows)];
}

function operationOf(api, path, method, operation) {
  const key = (operation.security ?? api.security).some((each) => Object.keys(each).length)
    ? "With a key (Authorization: Bearer …), where the server has keys." : "Without a key.";
  return make("details", {class: "operation", id: operation.operationId},
    make("summary", {}, make("span", {class: "method"}, method.toUpperCase()), make("code", {}, path), " ",
      make("span", {class: "summary"}, operation.summary)),
    make("div", {}, operation.description ? prose(operation.description) : null, make("p", {class: "summary"}, key),
      ...parameters(api, operation), ...bodies(operation), ...answers(api, operation)));
}

function schemas(api) {
  return Object.entries(api.components.schemas).map(([name, schema]) => make("details", {class: "operation", id: name},
    make("summary", {}, make("code", {}, name), " ", make("span", {class: "summary"}, schema.description ?? "")),
    make("div", {}, make("pre", {}, JSON.stringify(schema, null, 2)))));
}

function show(api) {
  const main = document.getElementById("api");
  const tags = new Map();
  const index = make("ul");
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (method === "head") continue;
      const tag = operation.tags[0];
      if (!tags.has(tag)) tags.set(tag, []);
      tags.get(tag).push(operationOf(api, path, method, operation));
      index.append(make("li", {}, make("a", {href: `#${operation.operationId}`}, `${method.toUpperCase()} ${path}`)));
    }
  }
  const parts = [...tags].flatMap(([tag, all]) => [make("h2", {}, tag), ...all]);
  main.replaceChildren(prose(`${api.info.description} Release ${api.info.version}.`), ...parts,
    make("h2", {}, "Schemas"), ...schemas(api));
  document.getElementById("contents").replaceChildren(index);
  document.body.dataset.state = "shown";
  openNamed();
}

function openNamed() {
  const named = document.getElementById(location.hash.slice(1));
  if (named instanceof HTMLDetailsElement) {
    named.open = true;
    named.scrollIntoView();
  }
}

addEventListener("hashchange", openNamed);
try {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`status ${response.status}`);
  show(await response.json());
} catch (error) {
  document.getElementById("api").replaceChildren(
    make("p", {class: "problem", role: "alert"}, `/openapi.json can't be shown: ${error.message}. Load the page again.`));
}
