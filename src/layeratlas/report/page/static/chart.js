// A chart of curves, bands and points, drawn as SVG: read by pointing, or with the arrow keys.

const CHART = { width: 420, height: 250, left: 52, right: 12, top: 10, bottom: 38 };

function steps(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((one) => one * power >= rough * 0.999);
  const places = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) places.push(i * step);
  return places.map((place) => Number(place.toPrecision(12)));
}

// 1, 2 and 5 times each power of ten between the ends; powers alone where these are many, equal steps where they are too near.
function powers(low, high) {
  const all = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const one of [1, 2, 5]) all.push([one, Number((one * 10 ** power).toPrecision(12))]);
  }
  const within = all.filter(([, value]) => value >= low && value <= high);
  if (within.length < 2) return steps(low, high, 5);
  return (within.length > 8 ? within.filter(([one]) => one === 1) : within).map(([, value]) => value);
}

class Chart {
  constructor(host, chart, { onpoint = () => {} } = {}) {
    Object.assign(this, { chart, onpoint, places: placesOf(chart), at: -1 });
    this.svg = drawn("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "application", "aria-roledescription": "chart", tabindex: "0", "aria-label": `${chart.title}. ${chart.y} over ${chart.x}. ${chart.note} Arrow keys read it.` });
    this.said = element("p", { class: "said", text: chart.note });
    host.append(element("div", { class: "chart" }, [element("p", { class: "name", text: chart.title }), this.svg, legend(chart), this.said]));
    this.scale();
    this.draw();
    this.svg.addEventListener("pointermove", (event) => this.point(this.nearest(event)));
    this.svg.addEventListener("pointerleave", () => this.leave());
    this.svg.addEventListener("blur", () => this.leave());
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  scale() {
    const { chart } = this;
    const seen = (key) => chart.series.flatMap((one) => one[key] ?? []).filter(Number.isFinite);
    const xs = seen("x");
    const ys = [...seen("y"), ...seen("low"), ...seen("high"), ...chart.rules].filter((value) => Number.isFinite(value) && (value > 0 || !chart.logarithmic));
    const bars = chart.series.some((one) => one.style === "bars");
    this.bar = bars ? 0.8 * spacing(xs) : 0;
    if (bars) ys.push(0);
    const [left, right] = chart.ticks ? [-0.4 - this.bar / 4, chart.ticks.length - 0.6 + this.bar / 4] : [Math.min(...xs) - this.bar / 2, Math.max(...xs) + this.bar / 2];
    let [bottom, top] = ys.length ? [Math.min(...ys), Math.max(...ys)] : [chart.logarithmic ? 0.1 : 0, 1];
    if (chart.logarithmic) [bottom, top] = [bottom * 0.9, top * 1.1];
    else {
      if (bottom > 0 && bottom < 0.6 * top) bottom = 0;
      const room = (top - bottom || 1) * 0.04;
      [bottom, top] = [bottom === 0 ? 0 : bottom - room, top + room];
    }
    const wide = CHART.width - CHART.left - CHART.right;
    const high = CHART.height - CHART.top - CHART.bottom;
    this.x = (value) => CHART.left + (wide * (value - left)) / (right - left || 1);
    const up = chart.logarithmic ? (value) => Math.log(Math.max(value, bottom)) : (value) => value;
    this.y = (value) => CHART.top + high - (high * (up(value) - up(bottom))) / (up(top) - up(bottom));
    this.ends = { left, right, bottom, top };
  }

  draw() {
    const { chart, ends } = this;
    this.svg.replaceChildren();
    const foot = CHART.height - CHART.bottom;
    for (const value of chart.logarithmic ? powers(ends.bottom, ends.top) : steps(ends.bottom, ends.top, 5)) {
      this.svg.append(
        drawn("line", { class: "grid", x1: CHART.left, x2: CHART.width - CHART.right, y1: this.y(value), y2: this.y(value) }),
        drawn("text", { x: CHART.left - 6, y: this.y(value) + 4, "text-anchor": "end", text: String(value) }),
      );
    }
    for (const [value, text] of this.ticks()) this.svg.append(drawn("text", { x: this.x(value), y: foot + 15, "text-anchor": "middle", text }));
    this.svg.append(
      drawn("path", { class: "axis", d: `M${CHART.left},${CHART.top}V${foot}H${CHART.width - CHART.right}` }),
      drawn("text", { x: (CHART.left + CHART.width - CHART.right) / 2, y: CHART.height - 6, "text-anchor": "middle", text: chart.x }),
      drawn("text", { x: 12, y: (CHART.top + foot) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(CHART.top + foot) / 2})`, text: chart.y }),
    );
    for (const value of chart.rules) this.svg.append(drawn("line", { class: "rule", x1: CHART.left, x2: CHART.width - CHART.right, y1: this.y(value), y2: this.y(value) }));
    if (chart.equal) this.svg.append(drawn("line", { class: "rule", x1: this.x(0), y1: this.y(0), x2: this.x(1), y2: this.y(1) }));
    chart.series.forEach((one, place) => this.series(one, colourClass(place)));
    this.mark = drawn("g", {});
    this.svg.append(this.mark);
  }

  ticks() {
    const { chart, ends } = this;
    if (!chart.ticks) return steps(ends.left, ends.right, 6).map((value) => [value, String(value)]);
    const longest = Math.max(...chart.ticks.map((name) => layerName(name).length));
    const apart = Math.max(1, Math.ceil((chart.ticks.length * (longest * 6.5 + 10)) / (CHART.width - CHART.left - CHART.right)));
    return chart.ticks.map((name, place) => [place, layerName(name)]).filter(([place]) => place % apart === 0);
  }

  series(one, colour) {
    if (one.style === "bars") this.bars(one, colour);
    for (const run of runsOf(one, (i) => one.low && Number.isFinite(one.x[i]) && Number.isFinite(one.low[i]) && Number.isFinite(one.high[i]))) {
      if (one.style === "points" || one.style === "bars") {
        for (const i of run) this.svg.append(drawn("line", { class: `whisker ${colour}`, x1: this.x(one.x[i]), x2: this.x(one.x[i]), y1: this.y(one.low[i]), y2: this.y(one.high[i]) }));
      } else {
        const above = run.map((i) => `${this.x(one.x[i])},${this.y(one.high[i])}`);
        const below = run.map((i) => `${this.x(one.x[i])},${this.y(one.low[i])}`).reverse();
        this.svg.append(drawn("polygon", { class: `band ${colour}`, points: [...above, ...below].join(" ") }));
      }
    }
    if (one.style === "bars") return;
    for (const run of runsOf(one, (i) => Number.isFinite(one.x[i]) && Number.isFinite(one.y[i]))) {
      if (one.style === "points" || run.length === 1) {
        for (const i of run) this.svg.append(drawn("circle", { class: colour, r: 2.6, cx: this.x(one.x[i]), cy: this.y(one.y[i]) }));
      } else {
        const line = run.map((i) => `${this.x(one.x[i])},${this.y(one.y[i])}`).join(" ");
        this.svg.append(drawn("polyline", { class: `curve ${one.style} ${colour}`, points: line }));
      }
    }
  }

  nearest(event) {
    const box = this.svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) * CHART.width) / box.width;
    const far = (place) => Math.abs(this.x(place) - at);
    return this.places.reduce((best, place, i) => (far(place) < far(this.places[best]) ? i : best), 0);
  }

  bars(one, colour) {
    one.x.forEach((x, i) => {
      if (!Number.isFinite(one.y[i])) return;
      const [from, to] = [this.x(x - this.bar / 2), this.x(x + this.bar / 2)];
      const [top, foot] = [Math.min(this.y(one.y[i]), this.y(0)), Math.max(this.y(one.y[i]), this.y(0))];
      this.svg.append(drawn("rect", { class: `bar ${colour}`, x: from, y: top, width: to - from, height: foot - top }));
    });
  }

  key(event) {
    const last = this.places.length - 1;
    const to = { ArrowRight: this.at + 1, ArrowLeft: this.at - 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.point(Math.min(Math.max(to, 0), last));
    speak(this.said.textContent);
  }

  point(at) {
    this.show(at);
    if (at >= 0) this.onpoint(this.places[at], at);
  }

  // Marks a place on the chart, without telling others.
  show(at) {
    this.at = at;
    const place = this.places[at];
    if (place === undefined) return;
    const said = [];
    this.mark.replaceChildren(drawn("line", { class: "cursor", x1: this.x(place), x2: this.x(place), y1: CHART.top, y2: CHART.height - CHART.bottom }));
    this.chart.series.forEach((one, number) => {
      const i = one.x.indexOf(place);
      if (i < 0 || !Number.isFinite(one.y[i])) return;
      this.mark.append(drawn("circle", { class: colourClass(number), r: 4.5, cx: this.x(place), cy: this.y(one.y[i]) }));
      const interval = one.low && Number.isFinite(one.low[i]) ? ` (${shown(one.low[i])} to ${shown(one.high[i])})` : "";
      said.push(`${one.labels ? `${one.labels[i]}: ` : ""}${one.name} ${shown(one.y[i])}${interval}`);
    });
    this.said.textContent = `${this.chart.ticks ? this.chart.ticks[place] : `${this.chart.x} ${shown(place)}`} – ${said.join("; ")}`;
  }

  leave() {
    this.at = -1;
    this.mark.replaceChildren();
    this.said.textContent = this.chart.note;
  }
}

// The least distance of two places.
function spacing(xs) {
  const sorted = [...new Set(xs)].sort((x, y) => x - y);
  const least = Math.min(...sorted.slice(1).map((x, i) => x - sorted[i]));
  return Number.isFinite(least) ? least : 1;
}

function placesOf(chart) {
  const all = new Set(chart.series.flatMap((one) => one.x.filter((x, i) => Number.isFinite(x) && Number.isFinite(one.y[i]))));
  return [...all].sort((x, y) => x - y);
}

// Indices of neighbouring points that satisfy a condition, run by run.
function runsOf(one, holds) {
  const runs = [[]];
  one.x.forEach((_, i) => (holds(i) ? runs.at(-1).push(i) : runs.at(-1).length && runs.push([])));
  return runs.filter((run) => run.length);
}

function colourClass(place) {
  return `c${(place % 5) + 1}`;
}

function legend(chart) {
  const entries = chart.series.map((one, place) => {
    const colour = colourClass(place);
    const sample = one.style === "bars" ? drawn("rect", { class: `bar ${colour}`, x: 5, y: 0, width: 12, height: 10 }) : one.style === "points" ? drawn("circle", { class: colour, cx: 11, cy: 5, r: 3 }) : drawn("line", { class: `curve ${one.style} ${colour}`, x1: 1, x2: 21, y1: 5, y2: 5 });
    return element("li", {}, [drawn("svg", { "aria-hidden": "true" }, [sample]), one.name]);
  });
  return element("ul", { class: "legend" }, entries);
}
