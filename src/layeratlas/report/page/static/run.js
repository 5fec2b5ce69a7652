// The page of a run: the matrix, what is read off it, and what hangs on a chosen cell.

const WHY = {
  affinity: "Larger is more alike.",
  chance: "What is above chance: 0 is what texts paired at random give.",
  calibrated: "0 is what one random order in twenty reaches, 1 what a layer has with itself.",
  z: "Deviations of the null above its mean.",
};

function viewsOf(matrix, against) {
  const { values, metric } = matrix;
  const views = { affinity: { label: `${metric}, raw`, values: values.affinity, diverging: false, why: WHY.affinity } };
  if (values.chance) {
    const above = values.affinity.map((value, place) => value - values.chance[place]);
    views.above = { label: `${metric} minus chance`, values: above, diverging: true, why: WHY.chance };
  }
  if (values.calibrated) views.calibrated = { label: `${metric}, calibrated`, values: values.calibrated, diverging: true, why: WHY.calibrated };
  if (values.z) views.z = { label: "z", values: values.z, diverging: true, why: WHY.z };
  if (against) views.difference = differenceTo(matrix, against);
  return views;
}

// This matrix minus another run's of the same layers; a cell is masked where neither of both is above chance.
function differenceTo({ values, metric }, against) {
  const masks = {};
  for (const p of ["p_fwer", "p_fdr"]) if (values[p]) masks[p] = values[p].map((own, cell) => (against[p] ? Math.min(own, against[p][cell]) : own));
  return {
    label: `${metric} minus that of ${against.name}`,
    values: values.affinity.map((value, cell) => value - against.affinity[cell]),
    diverging: true,
    masks,
    why: `Above 0: more alike here than in ${against.name}. Struck cells, if any: above chance in neither.`,
  };
}

function masksOf({ values }) {
  const masks = {};
  if (values.p_fwer) masks.p_fwer = { label: "family-wise p", values: values.p_fwer };
  if (values.p_fdr) masks.p_fdr = { label: "false-discovery p", values: values.p_fdr };
  return masks;
}

// The whole matrix as a tidy table, as affinity.parquet holds it.
function tidy(matrix) {
  const { layers, depth, values, constants } = matrix;
  const cells = layers.a.length * layers.b.length;
  const row = (cell) => Math.floor(cell / layers.b.length);
  const column = (cell) => cell % layers.b.length;
  const numbers = (from) => Float64Array.from({ length: cells }, (_, cell) => from(cell));
  const texts = (from) => Array.from({ length: cells }, (_, cell) => from(cell));
  const kept = Object.entries(constants).map(([name, value]) =>
    typeof value === "number" ? { name, kind: "whole", values: numbers(() => value) } : { name, kind: "text", values: texts(() => value) });
  const columns = [
    ...kept,
    { name: "layer_a", kind: "text", values: texts((cell) => layers.a[row(cell)]) },
    { name: "layer_b", kind: "text", values: texts((cell) => layers.b[column(cell)]) },
    { name: "depth_a", kind: "number", values: numbers((cell) => depth.a[row(cell)]) },
    { name: "depth_b", kind: "number", values: numbers((cell) => depth.b[column(cell)]) },
    ...Object.entries(values).map(([name, all]) => ({ name, kind: "number", values: all })),
  ];
  return { name: "affinity", rows: cells, of: cells, columns };
}

// The items' texts as a table of its own: those that the page holds in full.
function textTable(items) {
  const { texts, chosen } = items;
  const of = (from) => Array.from(chosen, (item) => from[item]);
  const columns = [{ name: "id", kind: "text", values: of(texts.ids) }, { name: "text_a", kind: "text", values: of(texts.a) }];
  if (texts.b) columns.push({ name: "text_b", kind: "text", values: of(texts.b) });
  return { name: "texts", rows: chosen.length, of: items.n, columns };
}

// For each layer of a side, its row or column of an array of the matrix.
function lineOf(matrix, name, side, place) {
  const { layers, values } = matrix;
  const wide = layers.b.length;
  return side === "a" ? Array.from(layers.b, (_, j) => values[name][place * wide + j]) : Array.from(layers.a, (_, i) => values[name][i * wide + place]);
}

function profile(matrix, side, place) {
  const other = side === "a" ? "b" : "a";
  const x = matrix.layers[other].map((_, one) => one);
  const interval = matrix.values.ci_low ? { low: lineOf(matrix, "ci_low", side, place), high: lineOf(matrix, "ci_high", side, place) } : { low: null, high: null };
  return {
    title: `${side} ${matrix.layers[side][place]} against every layer of ${other}`,
    x: `layer of ${other}`,
    y: matrix.metric,
    ticks: matrix.layers[other],
    rules: [],
    equal: false,
    note: "Line: value, band: interval; dotted: chance.",
    series: [
      { name: matrix.metric, style: "line", x, y: lineOf(matrix, "affinity", side, place), ...interval, labels: null },
      ...(matrix.values.chance ? [{ name: "chance", style: "dotted", x, y: lineOf(matrix, "chance", side, place), low: null, high: null, labels: null }] : []),
    ],
  };
}

// For each layer of both sides: how alike its best match is, and where that lies.
function matchCharts(matrix) {
  const { layers, depth, metric, names } = matrix;
  const strength = [];
  const places = [];
  for (const side of ["a", "b"]) {
    const other = side === "a" ? "b" : "a";
    const lines = layers[side].map((_, place) => lineOf(matrix, "affinity", side, place));
    const best = lines.map((line) => line.reduce((found, value, i) => (value > line[found] ? i : found), 0));
    const labels = layers[side].map((layer, place) => `${side} ${layer}, best ${other} ${layers[other][best[place]]}`);
    const deep = Array.from(depth[side]);
    const low = matrix.values.ci_low ? best.map((one, place) => lineOf(matrix, "ci_low", side, place)[one]) : null;
    const high = matrix.values.ci_low ? best.map((one, place) => lineOf(matrix, "ci_high", side, place)[one]) : null;
    strength.push({ name: `${side}: ${names[side]}`, style: "line", x: deep, y: best.map((one, place) => lines[place][one]), low, high, labels });
    places.push({ name: `${side} in ${other}`, style: "points", x: deep, y: best.map((one) => depth[other][one]), low: null, high: null, labels });
  }
  const shared = { ticks: null, rules: [], x: "depth of the layer" };
  return [
    { ...shared, title: "How alike the best match is", y: metric, equal: false, series: strength, note: "Bands: interval of that cell, which does not count that it was chosen as the best." },
    { ...shared, title: "Where the best match lies", y: "depth of its best match", equal: true, series: places, note: "Dashed: equal depth." },
  ];
}

function drawRun(data) {
  const { matrix, tables, charts, items } = data;
  const all = [...(items?.texts ? [textTable(items)] : []), ...tables];
  const picture = new Matrix(document.getElementById("matrix-picture"), {
    rows: matrix.layers.a, columns: matrix.layers.b, names: matrix.names, views: viewsOf(matrix, data.against), masks: masksOf(matrix), alpha: matrix.alpha, path: matrix.monotone,
  });
  const readout = new Readout(document.getElementById("matrix-readout"), matrix, Boolean(items));
  const texts = items ? new Texts(document.getElementById("texts-of-cell"), matrix, items) : null;
  const explain = items ? new Explain(document.getElementById("explained"), matrix, data.influence, items) : null;
  const profiles = document.getElementById("profiles");
  controls(picture);
  picture.onpoint = (cell) => readout.show(cell, cell !== null && picture.kept !== null && cell.join() === picture.kept.join());
  picture.onkeep = (cell) => {
    readout.show(cell, true);
    texts?.show(cell);
    explain?.show(cell);
    profiles.replaceChildren();
    new Chart(profiles, profile(matrix, "a", cell[0]), { onpoint: (j) => picture.point([cell[0], j]) });
    new Chart(profiles, profile(matrix, "b", cell[1]), { onpoint: (i) => picture.point([i, cell[1]]) });
    speak(`Kept: ${picture.spoken()}`);
  };
  linkedMatches(matrix, picture, tables.find((one) => one.name === "diagonal"));
  for (const host of document.querySelectorAll("[data-charts]")) {
    whenSeen(host, () => charts[host.dataset.charts].forEach((chart) => new Chart(host, chart)));
  }
  const seen = [...tables, tidy(matrix)];
  for (const host of document.querySelectorAll("details[data-table]")) {
    host.addEventListener("toggle", () => new Table(host, seen.find((one) => one.name === host.dataset.table)), { once: true });
  }
  downloads([...all, tidy(matrix)]);
}

function controls(picture) {
  const host = document.getElementById("matrix-controls");
  const views = Object.entries(picture.views).map(([name, view]) => [name, view.label]);
  host.append(choice("Show", views, (view) => picture.show({ view })));
  const masks = Object.entries(picture.masks).map(([name, mask]) => [name, `${mask.label} > ${picture.alpha}`]);
  if (masks.length) host.append(choice("Strike out cells with", [["", "nothing"], ...masks], (mask) => picture.show({ mask })));
  host.append(tick(picture.path ? "matches (dots: best of each row; line: if depth never runs backwards)" : "matches (dots: best of each row)", false, (paths) => picture.show({ paths })));
}

function linkedMatches(matrix, picture, table) {
  const host = document.getElementById("match-charts");
  for (const chart of matchCharts(matrix)) {
    new Chart(host, chart, { onpoint: (x) => markNearest(matrix, picture, chart, x) });
  }
  const rows = document.querySelector("[data-matches]");
  if (!table) return rows.append(element("p", { class: "note", text: "analysis=[diagonal] adds the table of matches with their intervals." }));
  const side = table.columns.find((column) => column.name === "side");
  const layer = table.columns.find((column) => column.name === "layer");
  const place = (row) => matrix.layers[side.values[row]].indexOf(layer.values[row]);
  return new Table(rows, table, { onpoint: (row) => picture.markLine(side.values[row], place(row)) });
}

function markNearest(matrix, picture, chart, x) {
  const number = chart.series.findIndex((one) => one.x.includes(x));
  const side = number === 0 ? "a" : "b";
  picture.markLine(side, Array.from(matrix.depth[side]).indexOf(x));
}

function downloads(tables) {
  const host = document.getElementById("downloads");
  for (const table of tables) {
    const left = table.of > table.rows ? ` (${table.rows} of ${table.of} rows)` : "";
    host.append(element("button", { type: "button", text: `${table.name}.csv${left}`, onclick: () => saveTable(table) }));
  }
}

followTheme();
makeCopyable();
unpacked(document.getElementById("data").textContent).then((data) => {
  drawRun(data);
  document.documentElement.dataset.ready = "true";
});
