// The page of a sweep: its runs, their curves, and two of their matrices.

class Matrices {
  constructor(packed) {
    this.packed = packed;
    this.starts = [];
    let start = 0;
    for (let run = 0; run < packed.a.length; run++) {
      this.starts.push(start);
      start += this.side(run, "a").names.length * this.side(run, "b").names.length;
    }
  }

  side(run, side) {
    return this.packed.layers[this.packed[side][run]];
  }

  part(run, key) {
    const size = this.side(run, "a").names.length * this.side(run, "b").names.length;
    return this.packed[key].subarray(this.starts[run], this.starts[run] + size);
  }

  values(run) {
    const { low, high, steps } = this.packed;
    return Float64Array.from(this.part(run, "cells"), (step) => low[run] + (step / steps) * (high[run] - low[run]));
  }

  // The whole matrix on its own scale of colours, as small as a row of the table.
  thumbnail(run) {
    const [rows, columns] = ["a", "b"].map((side) => this.side(run, side).names.length);
    const steps = this.part(run, "cells");
    const { low, high } = this.packed;
    const foot = Math.min(0, low[run]);
    const canvas = element("canvas", { "aria-hidden": "true", width: columns, height: rows, class: "thumbnail" });
    const paper = canvas.getContext("2d");
    const image = paper.createImageData(columns, rows);
    const share = (step) => (low[run] - foot + (step / this.packed.steps) * (high[run] - low[run])) / (high[run] - foot || 1);
    const colours = Array.from({ length: 256 }, (_, one) => mixed(SEQUENTIAL, share((one / 255) * this.packed.steps)));
    steps.forEach((step, cell) => {
      const place = 4 * ((rows - 1 - Math.floor(cell / columns)) * columns + (cell % columns));
      const colour = colours[Math.round((255 * step) / this.packed.steps)];
      for (let one = 0; one < 3; one++) image.data[place + one] = colour[one];
      image.data[place + 3] = 255;
    });
    paper.putImageData(image, 0, 0);
    return canvas;
  }

  // Of each layer of a that has a depth: how alike its best match in b is.
  best(run) {
    const wide = this.side(run, "b").names.length;
    const values = this.values(run);
    const deep = Array.from(this.side(run, "a").depth);
    const y = deep.map((_, i) => values.subarray(i * wide, (i + 1) * wide).reduce((most, value) => Math.max(most, value), -Infinity));
    const kept = deep.map((_, i) => i).filter((i) => Number.isFinite(deep[i]));
    return { run, x: kept.map((i) => deep[i]), y: kept.map((i) => y[i]) };
  }
}

function columnOf(table, name) {
  return table.columns.find((column) => column.name === name);
}

function drawSweep(data) {
  const { runs, groups, swaps, tables } = data;
  const matrices = new Matrices(data.matrices);
  const name = (run) => `${cellText(columnOf(runs, "job"), run)}: ${cellText(columnOf(runs, "side_a"), run)} × ${cellText(columnOf(runs, "side_b"), run)}, ${cellText(columnOf(runs, "metric"), run)}`;
  const pair = new Pair(matrices, name, runs.rows);
  const curves = new Curves(matrices, swaps, groups, name, (run) => pair.choose(run));
  const table = new Table(document.getElementById("run-table"), { ...runs, columns: [{ name: "page", kind: "link", values: runs.pages }, { name: "matrix", kind: "picture", values: Array.from(data.matrices.high), picture: (run) => matrices.thumbnail(run) }, ...runs.columns] }, { onchoose: (run) => pair.choose(run), onorder: (order) => curves.show(order) });
  pair.onchange = (chosen) => table.choose(chosen);
  curves.show(table.order);
  pair.show(0, Math.min(1, runs.rows - 1));
  for (const host of document.querySelectorAll("[data-charts]")) {
    whenSeen(host, () => data.charts[host.dataset.charts].forEach((chart) => new Chart(host, chart)));
  }
  const paired = document.getElementById("histograms");
  if (paired) whenSeen(paired, () => new Histograms(paired, data.histograms));
  const projector = document.getElementById("projector");
  if (projector) whenSeen(projector, () => new Projector(projector, data.projections));
  for (const host of document.querySelectorAll("details[data-table]")) {
    host.addEventListener("toggle", () => new Table(host, tables.find((one) => one.name === host.dataset.table)), { once: true });
  }
  for (const one of [runs, ...tables]) {
    const left = one.of > one.rows ? ` (${one.rows} of ${one.of} rows)` : "";
    document.getElementById("downloads").append(element("button", { type: "button", text: `${one.name}.csv${left}`, onclick: () => saveTable(one) }));
  }
}

class Curves {
  constructor(matrices, swaps, groups, name, onchoose) {
    Object.assign(this, { matrices, swaps, groups, name, onchoose, order: [], by: Object.keys(groups)[0] ?? "" });
    const names = Object.keys(groups).map((key) => [key, key.replace("_", " of ")]);
    if (names.length) document.getElementById("curve-controls").append(choice("Colour by", names, (by) => Object.assign(this, { by }).draw()));
    this.seen = false;
    whenSeen(document.getElementById("curve-charts"), () => Object.assign(this, { seen: true }).draw());
  }

  show(order) {
    this.order = [...order].sort((one, other) => one - other);
    if (this.seen) this.draw();
  }

  draw() {
    const host = document.getElementById("curve-charts");
    host.replaceChildren();
    const groups = this.groups[this.by] ?? this.matrices.packed.a.map(() => "all runs");
    const note = `${this.order.length} runs. Point at a curve to read it.`;
    const best = this.order.map((run) => this.matrices.best(run));
    new Overlay(host, { title: "How alike the best match of each layer of a is", x: "depth of the layer of a", y: "affinity", rules: [], note }, best, groups, this.name, this.onchoose);
    const margins = this.order.filter((run) => this.swaps[run]).map((run) => ({ run, x: Array.from(this.swaps[run].depth), y: Array.from(this.swaps[run].margin) }));
    if (margins.length) new Overlay(host, { title: "Do layers prefer their own depth", x: "depth", y: "swap margin", rules: [0], note: `${margins.length} runs. Above 0: layers prefer their own depth.` }, margins, groups, this.name, this.onchoose);
  }
}

class Pair {
  constructor(matrices, name, rows) {
    Object.assign(this, { matrices, name, left: 0, right: 0, next: "right", mask: "", onchange: () => {} });
    const options = Array.from({ length: rows }, (_, run) => [String(run), name(run)]);
    const host = document.getElementById("pair-controls");
    for (const side of ["left", "right"]) {
      const label = choice(side, options, (run) => this.show(...(side === "left" ? [Number(run), this.right] : [this.left, Number(run)])));
      this[`${side}Select`] = label.querySelector("select");
      host.append(label);
    }
    host.append(tick("strike out cells not above chance (family-wise p)", false, (on) => {
      this.mask = on ? "p_fwer" : "";
      this.show(this.left, this.right);
    }));
  }

  choose(run) {
    const side = this.next;
    this.next = side === "left" ? "right" : "left";
    this.show(side === "left" ? run : this.left, side === "right" ? run : this.right);
  }

  show(left, right) {
    Object.assign(this, { left, right });
    this.leftSelect.value = String(left);
    this.rightSelect.value = String(right);
    const host = document.getElementById("pair-matrices");
    themed.length = 0;
    host.replaceChildren();
    const values = { left: this.matrices.values(left), right: this.matrices.values(right) };
    const all = [...values.left, ...values.right];
    const scale = [Math.min(0, Math.min(...all.filter(Number.isFinite))), Math.max(...all.filter(Number.isFinite))];
    this.shown = [this.picture(host, left, values.left, this.name(left), false, scale), this.picture(host, right, values.right, this.name(right), false, scale)];
    this.apart(host, values);
    for (const one of this.shown) one.onpoint = (cell) => this.point(one, cell);
    this.onchange([left, right]);
  }

  alike() {
    return ["a", "b"].every((side) => this.matrices.packed[side][this.left] === this.matrices.packed[side][this.right]);
  }

  apart(host, values) {
    if (this.left === this.right) return;
    if (!this.alike()) {
      host.append(element("p", { class: "note", text: "No difference is shown: the two matrices are of other layers." }));
      return;
    }
    const difference = values.left.map((value, cell) => value - values.right[cell]);
    this.shown.push(this.picture(host, this.left, difference, "left minus right", true, null));
  }

  picture(host, run, values, title, diverging, scale) {
    const covered = { left: this.matrices.part(this.left, "covered"), right: this.matrices.part(this.right, "covered") };
    const both = diverging ? covered.left.map((one, cell) => one & covered.right[cell]) : this.matrices.part(run, "covered");
    const box = element("div", { class: "picture" });
    host.append(element("div", {}, [element("p", { class: "name", text: title }), box]));
    const untested = this.mask !== "" && !this.matrices.packed.tested[run] ? " This run was not tested." : "";
    const why = diverging ? "Struck: above chance in neither." : `Larger is more alike.${untested}`;
    const made = new Matrix(box, {
      rows: this.matrices.side(run, "a").names,
      columns: this.matrices.side(run, "b").names,
      names: { a: "a", b: "b" },
      views: { shown: { label: title, values, diverging, why, ends: scale } },
      masks: { p_fwer: { label: "family-wise p", values: both } },
      alpha: 0.5,  // covered is 0 or 1
      path: null,
      room: () => box.parentElement.clientWidth,
    });
    made.show({ mask: this.mask });
    return made;
  }

  point(from, cell) {
    for (const one of this.shown) if (one !== from) one.mark(cell);
    const place = ([i, j], one) => (i < one.rows.length && j < one.columns.length ? shown(one.values()[i * one.columns.length + j]) : "–");
    const said = this.shown.map((one, which) => `${["left", "right", "left minus right"][which]} ${cell ? place(cell, one) : "–"}`).join("; ");
    document.getElementById("pair-readout").textContent = cell ? `a ${from.rows[cell[0]]}, b ${from.columns[cell[1]]}: ${said}` : "Point at a cell, or focus a picture and use the arrow keys.";
  }
}

followTheme();
unpacked(document.getElementById("data").textContent).then((data) => {
  drawSweep(data);
  document.documentElement.dataset.ready = "true";
});
