// Curves of many runs in one chart, coloured by what they differ in; the nearest one is read.

const COLOURED = 5;

class Overlay {
  // `curves`: { run, x, y }; `groups`: the group of each run; `name` of a run.
  constructor(host, { title, x, y, rules, note }, curves, groups, name, onchoose) {
    Object.assign(this, { curves, name, onchoose });
    const counted = new Map();
    for (const { run } of curves) counted.set(groups[run], (counted.get(groups[run]) ?? 0) + 1);
    const kinds = [...counted.keys()].sort((one, other) => counted.get(other) - counted.get(one) || one.localeCompare(other, "en", { numeric: true }));
    const places = new Map(kinds.map((kind, place) => [kind, Math.min(place, COLOURED - 1)]));
    this.colour = (run) => colourClass(places.get(groups[run]));
    this.chart = { title, x, y, ticks: null, rules, equal: false, note, series: curves.map(({ x: xs, y: ys }) => ({ name: "", style: "line", x: xs, y: ys, low: null, high: null, labels: null })) };
    this.svg = drawn("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "application", "aria-roledescription": "chart", tabindex: "0", "aria-label": `${title}: ${curves.length} curves. Arrow keys read them one by one.` });
    this.said = element("p", { class: "said", text: note });
    const names = kinds.slice(0, COLOURED - 1).map((kind) => [kind, colourClass(places.get(kind))]);
    if (kinds.length === COLOURED) names.push([kinds.at(-1), colourClass(COLOURED - 1)]);
    if (kinds.length > COLOURED) names.push([`${kinds.length - COLOURED + 1} others`, colourClass(COLOURED - 1)]);
    const entries = names.map(([kind, colour]) => element("li", {}, [drawn("svg", { "aria-hidden": "true" }, [drawn("line", { class: `curve ${colour}`, x1: 1, x2: 21, y1: 5, y2: 5 })]), `${kind}`]));
    host.append(element("div", { class: "chart" }, [element("p", { class: "name", text: title }), this.svg, element("ul", { class: "legend" }, entries), this.said]));
    this.draw();
  }

  draw() {
    const frame = Object.create(Chart.prototype);
    Object.assign(frame, { chart: { ...this.chart, series: this.chart.series }, svg: this.svg, places: [], at: -1 });
    frame.scale();
    frame.series = (one, _) => this.line(frame, one);
    frame.draw();
    this.frame = frame;
    this.mark = frame.mark;
    this.at = -1;
    this.svg.addEventListener("pointermove", (event) => this.show(this.nearest(event)));
    this.svg.addEventListener("click", () => this.at >= 0 && this.onchoose(this.curves[this.at].run));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  line(frame, one) {
    const { run } = this.curves[this.chart.series.indexOf(one)];
    this.svg.append(drawn("polyline", { class: `curve many ${this.colour(run)}`, points: this.points(frame, one) }));
  }

  points(frame, one) {
    return Array.from(one.x, (x, i) => [x, one.y[i]]).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)).map(([x, y]) => `${frame.x(x).toFixed(1)},${frame.y(y).toFixed(1)}`).join(" ");
  }

  nearest(event) {
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) * CHART.width) / box.width;
    const y = ((event.clientY - box.top) * CHART.height) / box.height;
    let [best, least] = [-1, Infinity];
    this.chart.series.forEach((one, place) => {
      one.x.forEach((value, i) => {
        const far = (this.frame.x(value) - x) ** 2 + (this.frame.y(one.y[i]) - y) ** 2;
        if (far < least) [best, least] = [place, far];
      });
    });
    return best;
  }

  key(event) {
    const to = { ArrowRight: this.at + 1, ArrowLeft: this.at - 1, Home: 0, End: this.curves.length - 1 }[event.key];
    if (event.key === "Enter" && this.at >= 0) this.onchoose(this.curves[this.at].run);
    if (to === undefined || !this.curves.length) return;
    event.preventDefault();
    this.show(Math.min(Math.max(to, 0), this.curves.length - 1));
    speak(this.said.textContent);
  }

  show(at) {
    if (at < 0) return;
    this.at = at;
    const one = this.chart.series[at];
    const { run } = this.curves[at];
    this.mark.replaceChildren(drawn("polyline", { class: `curve strong ${this.colour(run)}`, points: this.points(this.frame, one) }));
    const values = Array.from(one.y).filter(Number.isFinite);
    this.said.textContent = `${this.name(run)}: ${shown(Math.min(...values))} to ${shown(Math.max(...values))}. Click shows its matrix.`;
  }
}
