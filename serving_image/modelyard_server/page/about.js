"use strict";
const model = JSON.parse(document.getElementById("data").textContent);
const isThere = value => value !== null && value !== undefined;
const at = id => document.getElementById(id);

/** Make an element with attributes and children; text never becomes markup. */
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (isThere(value) && value !== false) node.setAttribute(name, value === true ? "" : value);
  node.append(...children);
  return node;
};
const figures = (value, digits = 4) => isThere(value) ? String(Number(value.toPrecision(digits))) : "—";
const milliseconds = seconds => isThere(seconds) ? `${figures(seconds * 1e3, 3)} ms` : "—";
const bytes = size => size >= 1e6 ? `${figures(size / 1e6, 3)} MB` : `${figures(size / 1e3, 3)} kB`;
const percent = value => isThere(value) ? `${figures(value * 100, 4)} %` : "—";

/** Fill a table: names of columns, then rows of cells; numbers are set to the right. */
const fill = (table, columns, rows) => {
  if (columns) {
    const head = columns.map(([name, right]) => make("th", { scope: "col", class: right && "number" }, name));
    table.append(make("thead", {}, make("tr", {}, ...head)));
  }
  table.append(make("tbody", {}, ...rows.map(([first, ...rest]) => make("tr", {},
    make("th", { scope: "row" }, first),
    ...rest.map((cell, place) => make("td", { class: !columns || columns[place + 1][1] ? "number" : undefined }, cell))))));
};

at("name").textContent = model.name;
const facts = { version: model.version, trained: model.created, variant: model.variant, package: model.digest.slice(0, 19) };
for (const [name, value] of Object.entries(facts))
  at("about").append(make("div", {}, make("dt", {}, name), make("dd", { title: name === "package" ? model.digest : undefined }, value)));

const metrics = Object.entries(model.metrics);
if (metrics.length) fill(at("metrics"), null, metrics.map(([name, value]) => [name, figures(value)]));
else at("metrics").replaceWith(make("p", { class: "quiet" }, "The training recorded none."));

fill(at("variants"),
  [["variant"], ["size", true], ["an instance", true], ["in batches of 32", true], ["loss", true], ["same decisions", true],
    ["largest difference", true], ["offered"]],
  model.variants.map(variant => [
    variant.name === model.variant ? `${variant.name} (this one)` : variant.name,
    bytes(variant.size), milliseconds(variant.seconds), milliseconds(variant.batchSeconds), figures(variant.loss),
    percent(variant.agreement), figures(variant.difference, 2), variant.serve ? "yes" : `no: ${variant.reason}`,
  ]));

for (const output of model.outputs) {
  const told = output.top ? `${output.kind}, the ${output.top} best` : output.kind;
  at("outputs").append(make("p", {}, make("b", {}, output.name), ` · ${told}`),
    output.description ? make("p", { class: "note" }, output.description) : "");
  if (output.labels.length) {
    const labels = output.labels.map(({ name, parents }) => make("li", {}, parents.length ? `${name} ⊂ ${parents.join(", ")}` : name));
    at("outputs").append(make("details", { open: labels.length <= 6 }, make("summary", {}, `${labels.length} labels`), make("ul", {}, ...labels)));
  }
}
