/** Distributions: what the training saw, filled, and what this pod is asked, outlined, over the same bins. */
/** The size of the drawing in the template. */
const WIDTH = 240, HEIGHT = 80;
const shape = (tag, attributes, parent) => {
  const node = document.createElementNS(parent.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
};

/** Return [from, to] of each bin, 0 to 1: numbers to scale, categories alike. */
const placesOf = ({ edges, counts }) => {
  if (!edges.length) return counts.map((_, place) => [place / counts.length, (place + .85) / counts.length]);
  const [low, high] = [edges[0], edges[edges.length - 1]];
  return counts.map((_, place) => [(edges[place] - low) / (high - low), (edges[place + 1] - low) / (high - low)]);
};

const rowsOf = ({ counts, other }) => counts.reduce((sum, count) => sum + count, other);
const sharesOf = distribution => distribution.counts.map(count => count / (rowsOf(distribution) || 1));

/** Return what a PSI says; of few rows it is mostly chance, about (bins - 1) times (1 / rows + 1 / rows of the training). */
const verdict = (psi, past, rows) => {
  const chance = (past.counts.length - 1) * (1 / rows + 1 / Math.max(rowsOf(past), 1));
  if (psi < .1) return "alike";
  if (chance > .1 && psi < 5 * chance) return `too few rows (${rows}) to tell`;
  return psi < .25 ? "a little moved" : "shifted";
};

const draw = (name, past, now) => {
  const rows = now ? rowsOf(now) : 0;
  const judged = rows ? verdict(now.psi, past, rows) : "";
  const told = rows ? `PSI ${figures(now.psi, 3)}: ${judged}` : "not asked yet";
  const places = placesOf(past);
  const [before, after] = [sharesOf(past), rows ? sharesOf(now) : []];
  const densityOf = (share, place) => share / Math.max(places[place][1] - places[place][0], 1e-3);
  const most = Math.max(...before.map(densityOf), ...after.map(densityOf), 1e-9);
  const svg = at("chart").content.firstElementChild.cloneNode(true);
  svg.setAttribute("aria-label", `${name}: ${told}${rows ? `, ${rows} rows counted` : ""}`);
  const bar = (kind, share, place) => {
    const [from, to] = places[place], height = densityOf(share, place) / most * (HEIGHT - 2);
    const node = shape("rect", { class: kind, x: from * WIDTH, y: HEIGHT - height, width: Math.max((to - from) * WIDTH, 1), height }, svg);
    const label = past.categories.length ? past.categories[place] : `${figures(past.edges[place])} to ${figures(past.edges[place + 1])}`;
    shape("title", {}, node).textContent = `${label}: ${percent(share)}`;
  };
  before.forEach((share, place) => bar("past", share, place));
  after.forEach((share, place) => bar("now", share, place));
  shape("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }, svg);
  const ends = past.categories.length
    ? [past.categories[0], past.categories.length > 1 ? past.categories[past.categories.length - 1] : ""]
    : [figures(past.edges[0]), figures(past.edges[past.edges.length - 1])];
  return make("figure", { "data-name": name },
    make("figcaption", {}, make("b", {}, name), make("span", { class: judged === "shifted" && "moved" }, told)), svg,
    make("div", { class: "ends" }, make("span", {}, ends[0]), make("span", {}, ends[1])));
};

const drawAll = live => {
  for (const kind of ["features", "predictions"])
    at(kind).replaceChildren(...Object.entries(model.baseline[kind]).map(([name, past]) => draw(name, past, live?.[kind]?.[name])));
};
const refresh = async () => {
  try {
    const response = await fetch("distributions.json");
    if (response.ok) drawAll(await response.json());
  } catch {
    // the pod is gone: what is drawn stays
  }
};
drawAll(null);
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 5000);
