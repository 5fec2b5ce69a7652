// How alike single pairs are: a chart per model, a curve per pair of languages, at a chosen depth.

class Histograms {
  constructor(host, histograms) {
    Object.assign(this, { histograms, depth: Math.floor(histograms.depths / 2), cosine: 0 });
    const depths = Array.from({ length: histograms.depths }, (_, d) => [String(d), `depth ${((d + 1) / histograms.depths).toFixed(2)}`]);
    const set = (key) => (value) => {
      this[key] = Number(value);
      this.draw();
    };
    const own = histograms.cosines.slice(0, -1).map((name, place) => [String(place), name]);
    host.append(element("div", { class: "controls" }, [chosenChoice("At", depths, String(this.depth), set("depth")), chosenChoice("Show", own, "0", set("cosine"))]));
    this.charts = element("div", { class: "charts" });
    host.append(this.charts);
    this.draw();
  }

  counts(run, cosine) {
    const { bins, cosines, depths, counts } = this.histograms;
    const start = ((run * depths + this.depth) * cosines.length + cosine) * bins;
    return Array.from(counts.subarray(start, start + bins));
  }

  draw() {
    const { models, languages, layers, bins, cosines } = this.histograms;
    const x = Array.from({ length: bins }, (_, i) => -1 + (2 * i + 1) / bins);
    this.charts.replaceChildren();
    for (const model of new Set(models)) {
      const runs = models.map((_, run) => run).filter((run) => models[run] === model);
      const series = runs.flatMap((run) => {
        const own = { name: languages[run], style: "line", x, y: this.counts(run, this.cosine), low: null, high: null, labels: null };
        const wrong = { ...own, name: `${languages[run]}, wrong partners`, style: "dotted", y: this.counts(run, cosines.length - 1) };
        return runs.length === 1 ? [{ ...own, style: "bars" }, wrong] : [own, wrong];
      });
      const held = x.map((_, i) => i).filter((i) => series.some((one) => one.y[i] > 0));
      const [first, last] = [Math.max(0, Math.min(...held) - 1), Math.min(bins - 1, Math.max(...held) + 1)];
      for (const one of series) Object.assign(one, { x: one.x.slice(first, last + 1), y: one.y.slice(first, last + 1) });
      new Chart(this.charts, { title: model, x: cosines[this.cosine], y: "items", ticks: null, rules: [], equal: false, note: `Layers: ${[...new Set(runs.map((run) => layers[run][this.depth]))].join(", ")}. Dotted: the mean cosine of each item with all wrong partners.`, series });
    }
  }
}
