// Layers of all models and languages as points: which are shown, what joins them, and the numbers of those that are seen.

const DEPTHS = 20;  // steps of the scrubber

class Projector {
  constructor(host, projections) {
    Object.assign(this, { projections, which: 0, chosen: 0, axes: [0, 1, 2], hidden: { model: new Set(), reads: new Set() }, by: "model", links: true, lines: true, depth: 0 });
    this.bar = element("div", { class: "controls" });
    this.filters = element("div", { class: "filters" });
    this.said = element("p", { class: "said", "aria-live": "off" });
    this.energy = element("p", { class: "note" });
    this.legend = element("ul", { class: "legend" });
    this.numbers = element("div", { class: "wide" });
    host.append(this.bar, this.filters);
    const side = element("div", { class: "beside" }, [this.energy, this.legend, this.said, this.numbers]);
    const picture = element("div", { class: "space-host" });
    host.append(element("div", { class: "projector" }, [picture, side]));
    this.space = new Space(picture, "Layers as points. Arrow keys turn the picture, plus and minus enlarge it, n and p go from point to point, Home resets.", { onpoint: (at) => this.point(at) });
    themed.push(() => this.draw());
    this.choose(0);
  }

  get of() {
    return this.projections[this.which];
  }

  get held() {
    return this.of.spaces[this.chosen];
  }

  choose(which) {
    this.which = which;
    this.chosen = Math.min(this.chosen, this.of.spaces.length - 1);
    this.axes = [0, 1, this.held.components > 2 ? 2 : -1];
    this.hidden = { model: new Set(), reads: new Set() };
    this.controls();
    this.draw();
  }

  controls() {
    const set = (change) => (value) => {
      change(value);
      this.draw();
    };
    const components = Array.from({ length: this.held.components }, (_, k) => [String(k), `component ${k + 1}`]);
    const axis = (label, place, options) => {
      const made = choice(label, options, set((k) => (this.axes[place] = Number(k))));
      made.querySelector("select").value = String(this.axes[place]);
      return made;
    };
    const conditions = this.projections.length > 1 ? [chosenChoice("Condition", this.projections.map(({ name }, i) => [String(i), name]), String(this.which), (i) => this.choose(Number(i)))] : [];
    const scrubber = element("input", { type: "range", min: "0", max: String(DEPTHS), value: String(this.depth), "aria-label": "Depth", oninput: () => {
      this.depth = Number(scrubber.value);
      told.textContent = this.depthTold();
      this.draw();
    } });
    const told = element("span", { class: "note", text: this.depthTold() });
    this.bar.replaceChildren(
      ...conditions,
      chosenChoice("Space", this.of.spaces.map(({ name }, i) => [String(i), name]), String(this.chosen), set((i) => (this.chosen = Number(i)))),
      axis("across", 0, components), axis("up", 1, components), axis("into the picture", 2, [["-1", "flat"], ...components]),
      chosenChoice("Colour by", [["model", "model"], ["reads", "language"], ["depth", "depth"]], this.by, set((by) => (this.by = by))),
      tick("depth lines", this.lines, set((on) => (this.lines = on))),
      tick("pair links", this.links, set((on) => (this.links = on))),
      element("label", {}, ["Depth", scrubber, told]),
      element("button", { type: "button", text: "Reset view", onclick: () => this.space.reset() }),
    );
    this.filters.replaceChildren(...["model", "reads"].map((kind) => this.filter(kind)));
  }

  filter(kind) {
    const boxes = this.of[kind].names.map((name, place) => tick(name, true, (on) => {
      this.hidden[kind][on ? "delete" : "add"](place);
      this.draw();
    }));
    return element("fieldset", {}, [element("legend", { text: kind === "model" ? "Models" : "Languages" }), ...boxes]);
  }

  depthTold() {
    return this.depth === 0 ? "all" : `${(this.depth / DEPTHS).toFixed(2)}`;
  }

  // The points that the filters leave; with the scrubber, of each model and language the layer nearest to its depth.
  visible() {
    const { model, reads, depth } = this.of;
    const left = [...depth.keys()].filter((i) => !this.hidden.model.has(model.of[i]) && !this.hidden.reads.has(reads.of[i]));
    if (this.depth === 0) return left;
    const nearest = new Map();
    for (const i of left.filter((one) => Number.isFinite(depth[one]))) {
      const key = `${model.of[i]} ${reads.of[i]}`;
      const far = (one) => Math.abs(depth[one] - this.depth / DEPTHS);
      if (!nearest.has(key) || far(i) < far(nearest.get(key))) nearest.set(key, i);
    }
    return [...nearest.values()];
  }

  coordinate(i, axis) {
    return axis < 0 ? 0 : this.held.coordinates[i * this.held.components + axis];
  }

  draw() {
    this.shown = this.visible();
    const flat = this.axes[2] < 0;
    const points = this.shown.map((i) => ({ place: this.axes.map((axis) => this.coordinate(i, axis)), colour: this.colour(i), shape: this.by === "reads" ? this.of.model.of[i] : this.of.reads.of[i], size: 2.5 + 4 * (Number.isFinite(this.of.depth[i]) ? this.of.depth[i] : 0.5) }));
    this.space.at = -1;
    this.space.show(points, this.joined(), flat, this.axes.filter((axis) => axis >= 0).map((axis) => `component ${axis + 1} (${Math.round(100 * this.held.shares[axis])} %)`));
    this.told();
    this.named();
    this.said.textContent = "Point at a layer to read it and to see the same layer in other languages.";
  }

  colour(i) {
    if (this.by === "depth") return `rgb(${mixed(SEQUENTIAL, this.of.depth[i])})`;
    return kindColour(this.of[this.by].of[i], this.of[this.by].names.length);
  }

  // Lines along depth in one model and language; dotted ones from each layer to itself in the next language.
  joined() {
    const made = [];
    const last = new Map();
    const partner = new Map();
    this.shown.forEach((i, at) => {
      const { model, reads, layer } = this.of;
      const path = `${model.of[i]} ${reads.of[i]}`;
      if (this.lines && this.depth === 0 && last.has(path)) made.push({ from: last.get(path), to: at, style: "thin", colour: this.by === "depth" ? null : this.colour(i) });
      last.set(path, at);
      const same = `${model.of[i]} ${layer.of[i]}`;
      if (this.links && partner.has(same)) made.push({ from: partner.get(same), to: at, style: "dotted" });
      partner.set(same, at);
    });
    return made;
  }

  partners(at) {
    const i = this.shown[at];
    const { model, layer } = this.of;
    return [...this.shown.keys()].filter((other) => other !== at && model.of[this.shown[other]] === model.of[i] && layer.of[this.shown[other]] === layer.of[i]);
  }

  name(i) {
    const { model, reads, layer, depth } = this.of;
    const deep = Number.isFinite(depth[i]) ? `, depth ${depth[i].toFixed(2)}` : "";
    return `${model.names[model.of[i]]}, ${reads.names[reads.of[i]]}, ${layer.names[layer.of[i]]}${deep}`;
  }

  point(at) {
    const plain = this.joined();
    if (at < 0) {
      this.space.lines = plain;
      return "";
    }
    const i = this.shown[at];
    const others = this.partners(at);
    this.space.lines = [...plain, ...others.map((other) => ({ from: at, to: other, style: "strong", colour: colourOf("--ink") }))];
    const apart = others.map((other) => `${this.of.reads.names[this.of.reads.of[this.shown[other]]]}: ${shown(this.distance(i, this.shown[other]))}`);
    const far = apart.length ? ` Distance to the same layer in ${apart.join(", ")}, in the components shown.` : "";
    this.said.textContent = `${this.name(i)}. ${Math.round(100 * this.held.captured[i])} % of its square lies in the ${this.held.components} components on record.${far}`;
    return this.said.textContent;
  }

  distance(i, j, axes = this.axes.filter((axis) => axis >= 0)) {
    return Math.hypot(...[...new Set(axes)].map((axis) => this.coordinate(i, axis) - this.coordinate(j, axis)));
  }

  // How much of the squares of the points that are seen the chosen components hold.
  captured() {
    const axes = [...new Set(this.axes.filter((axis) => axis >= 0))];
    const all = [...Array(this.held.components).keys()];
    const squares = (i, of) => of.reduce((sum, axis) => sum + this.coordinate(i, axis) ** 2, 0);
    const whole = this.shown.reduce((sum, i) => sum + (this.held.captured[i] > 0 ? squares(i, all) / this.held.captured[i] : 0), 0);
    return this.shown.reduce((sum, i) => sum + squares(i, axes), 0) / whole;
  }

  told() {
    const { of } = this.of;
    const { name } = this.held;
    const thinned = this.of.depth.length < of ? ` The page holds ${this.of.depth.length} of ${of} points, drawn at random; tables/joint_points.parquet holds all.` : "";
    this.energy.textContent = `${this.shown.length} of ${this.of.depth.length} points, ${name}. The components shown hold ${(100 * this.captured()).toFixed(1)} % of the squares of these points.${thinned}`;
    const rows = [];
    const { reads } = this.of;
    const seen = [...new Set(this.shown.map((i) => reads.of[i]))].sort((x, y) => x - y);
    for (const [place, first] of seen.entries()) for (const second of seen.slice(place + 1)) rows.push([first, second]);
    const head = ["", "layers", "mean", "median", "smallest", "largest"];
    const body = rows.map(([first, second]) => {
      const apart = this.apart(first, second);
      const mean = apart.reduce((sum, one) => sum + one, 0) / apart.length;
      const values = apart.length ? [mean, middle(apart), Math.min(...apart), Math.max(...apart)] : [NaN, NaN, NaN, NaN];
      return element("tr", {}, [element("th", { scope: "row", text: `${reads.names[first]}, ${reads.names[second]}` }), element("td", { text: String(apart.length) }), ...values.map((value) => element("td", { text: shown(value) }))]);
    });
    const none = element("p", { class: "note", text: "One language is seen: there are no pairs." });
    const table = element("table", { class: "plain numbers" }, [element("caption", { text: "Distances of the same layer in two languages, of the points that are seen" }), element("thead", {}, [element("tr", {}, head.map((text) => element(text ? "th" : "td", { scope: text ? "col" : null, text })))]), element("tbody", {}, body)]);
    this.numbers.replaceChildren(rows.length ? table : none);
  }

  // Distances of each visible layer of a model in one language to itself in another.
  apart(first, second) {
    const { model, reads, layer } = this.of;
    const key = (i) => `${model.of[i]} ${layer.of[i]}`;
    const there = new Map(this.shown.filter((i) => reads.of[i] === second).map((i) => [key(i), i]));
    return this.shown.filter((i) => reads.of[i] === first && there.has(key(i))).map((i) => this.distance(i, there.get(key(i))));
  }

  named() {
    const coloured = this.by === "depth" ? [] : this.of[this.by].names.map((name, place) => [name, kindColour(place, this.of[this.by].names.length), 0]);
    const other = this.by === "reads" ? "model" : "reads";
    const shaped = this.of[other].names.map((name, place) => [name, colourOf("--ink"), place]);
    const entries = [...coloured, ...shaped].map(([name, colour, shape]) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const paper = prepared(canvas, 16, 12);
      paper.fillStyle = paper.strokeStyle = colour;
      outlineOf(paper, SHAPES[shape % SHAPES.length], 8, 6, 4);
      return element("li", {}, [canvas, name]);
    });
    const deep = element("li", { text: this.by === "depth" ? "colour: dark is early, light is late" : "larger is deeper" });
    this.legend.replaceChildren(...entries, deep);
  }
}

// The page's own colours, or, where there are more kinds, as many hues.
function kindColour(place, kinds) {
  if (kinds <= COLOURED) return colourOf(`--curve-${place + 1}`);
  return `hsl(${Math.round((360 * place) / kinds)} 65% ${document.documentElement.dataset.theme === "dark" ? 70 : 38}%)`;
}

function chosenChoice(label, options, value, onchange) {
  const made = choice(label, options, onchange);
  made.querySelector("select").value = value;
  return made;
}

function middle(values) {
  const sorted = [...values].sort((x, y) => x - y);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
