/** Ask, show the answer with its timing, and say at a field what is wrong with it. */
const blame = problems => {
  let first = null;
  for (const [name, { main, wrong }] of fields) {
    wrong.textContent = problems.has(name) ? `${name}: ${problems.get(name)}` : "";
    if (problems.has(name)) main.setAttribute("aria-invalid", "true");
    else main.removeAttribute("aria-invalid");
    if (problems.has(name)) first ??= main;
  }
  first?.focus();
};

/** Take a refusal apart: every problem begins with the name of its feature. */
const problemsOf = message => {
  const names = [...fields.keys()].join("|");
  const parts = message.split(new RegExp(`(?:^|; )(${names}): `));
  const found = new Map();
  for (let place = 1; place + 1 < parts.length; place += 2) found.set(parts[place], parts[place + 1]);
  return found;
};

const share = value => {
  const bar = make("i");
  bar.style.width = `${100 * Math.min(Math.max(value, 0), 1)}%`;
  return make("div", { class: "share", "aria-hidden": "true" }, bar);
};

const shown = (output, value) => {
  if (output.kind === "probability") {
    const label = output.labels.length ? output.labels[0].name : output.name;
    return [make("p", { class: "figure" }, figures(value, 9)), share(value), make("p", { class: "note" }, `probability of ${label}`)];
  }
  if (output.kind === "regression") return [make("p", { class: "figure" }, figures(value, 9)), make("p", { class: "note" }, output.name)];
  if (output.kind === "tags") {
    const table = make("table", { "aria-label": output.name });
    const pairs = Object.entries(value).sort(([, one], [, other]) => other - one);
    fill(table, null, pairs.map(([name, score]) => [name, share(score), figures(score, 9)]));
    return [make("div", { class: "scroll" }, table)];
  }
  return [make("pre", { tabindex: 0 }, JSON.stringify(value))];
};

const showAnswer = answer => {
  const single = model.outputs.length === 1;
  at("answer").replaceChildren(...model.outputs.flatMap(output => [
    single ? "" : make("h3", {}, output.name), ...shown(output, single ? answer : answer[output.name]),
  ]));
};

const showTiming = (response, elapsed) => {
  const parts = [...(response.headers.get("server-timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g)];
  const total = parts.reduce((sum, [, , value]) => sum + Number(value), 0);
  const told = parts.length ? `, of which the server took ${figures(total, 3)} ms` : "";
  at("timing").replaceChildren(
    make("p", { class: "note" }, `${figures(elapsed, 3)} ms from here and back${told}. Version ${response.headers.get("x-modelyard-version") ?? "?"}.`),
    ...(parts.length ? [make("dl", { class: "facts" }, ...parts.map(([, name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, `${value} ms`))))] : []));
};

const detail = (id, text) => {
  at(id).hidden = text === null;
  at(id).querySelector("pre").textContent = text ?? "";
};

const readRow = () => {
  const row = {}, problems = new Map();
  for (const [name, field] of fields) {
    try {
      const value = field.read();
      if (value !== undefined) row[name] = value;
    } catch (error) {
      problems.set(name, error.message);
    }
  }
  return { row, problems };
};

const refuse = message => {
  at("answer").replaceChildren(make("p", { class: "figure wrong" }, message));
  detail("whole", null);
};

const ask = async row => {
  const address = new URL(`v1/models/${model.name}:predict`, location.href), body = JSON.stringify({ instances: [row] });
  detail("asked", body.length > 4000 ? null : `curl '${address}' --json '${body.replaceAll("'", "'\\''")}'`);
  const started = performance.now();
  const response = await fetch(address, { method: "POST", headers: { "content-type": "application/json" }, body });
  const answer = await response.json();
  showTiming(response, performance.now() - started);
  if (response.ok) {
    blame(new Map());
    showAnswer(answer.predictions[0]);
    detail("whole", JSON.stringify(answer, null, 2));
  } else {
    refuse(answer.error);
    blame(problemsOf(answer.error));
  }
};

at("form").addEventListener("submit", async event => {
  event.preventDefault();
  const { row, problems } = readRow();
  if (problems.size) {
    at("timing").replaceChildren();
    refuse([...problems].map(([name, problem]) => `${name}: ${problem}`).join("; "));
    blame(problems);
    return;
  }
  button.disabled = true;
  try {
    await ask(row);
  } catch (error) {
    at("timing").replaceChildren();
    refuse(`No answer: ${error.message}`);
  } finally {
    button.disabled = false;
  }
  refresh();
});
