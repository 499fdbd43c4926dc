// Runs the examples of the developers' page against this very server. The key stays in the page: it is never stored.
"use strict";

const key = document.getElementById("key");
const words = document.body.dataset;

function request(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = { Authorization: "Bearer " + key.value.trim() };
  let body;
  for (const field of form.querySelectorAll("input, textarea")) {
    const [place, name] = field.name.split(":");
    if (place === "path") path = path.replace("{" + name + "}", encodeURIComponent(field.value.trim()));
    else if (place === "body") body = field.value;
    else if (field.value === "") continue;
    else if (place === "query") query.append(name, field.value);
    else headers[name] = field.value;
  }
  if (body !== undefined) headers["Content-Type"] = form.dataset.form;
  if (query.size) path += "?" + query;
  return [path, { method: form.dataset.method, headers, body, cache: "no-store" }];
}

function show(form, status, text, good) {
  const answer = form.querySelector(".answer");
  answer.hidden = false;
  const said = answer.querySelector(".said");
  said.textContent = status;
  said.className = "said " + (good ? "good" : "bad");
  answer.querySelector("pre").textContent = text;
}

// What one answer names, the next example asks for.
function lead(form, told) {
  for (const [operation, field] of Object.entries(JSON.parse(form.dataset.leads))) {
    const next = document.querySelector(`form[data-name="${operation}"] [name="path:${field}"]`);
    if (next && typeof told.id === "string") next.value = told.id;
  }
}

async function run(event) {
  event.preventDefault();
  const form = event.target;
  if (!key.value.trim()) {
    key.focus();
    show(form, words.needsKey, "", false);
    return;
  }
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const answer = await fetch(...request(form));
    let text = await answer.text();
    try {
      const told = JSON.parse(text);
      if (answer.ok) lead(form, told);
      text = JSON.stringify(told, null, 2);
    } catch { /* no JSON: shown as it came */ }
    const shown = ["idempotent-replayed", "location", "etag", "retry-after", "x-request-id"]
      .filter((name) => answer.headers.has(name))
      .map((name) => `${name}: ${answer.headers.get(name)}\n`);
    show(form, `HTTP ${answer.status}`, shown.join("") + (shown.length ? "\n" : "") + text, answer.ok);
  } catch {
    show(form, words.noAnswer, "", false);
  } finally {
    button.disabled = false;
  }
}

for (const form of document.querySelectorAll("form[data-path]")) form.addEventListener("submit", run);
