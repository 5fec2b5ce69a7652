// What is known of one cell: its layers, value, chance, null, interval and p, in words beside the matrix.

class Readout {
  constructor(host, matrix, texts) {
    Object.assign(this, { host, matrix, texts });
    this.show(null);
  }

  show(cell, kept = false) {
    if (!cell) {
      this.host.replaceChildren(element("h3", { text: "No cell chosen" }), element("p", { text: "Point at a cell of the matrix, or focus it and use the arrow keys. Enter or a click keeps a cell." }));
      return;
    }
    const [i, j] = cell;
    const { layers, names } = this.matrix;
    this.host.replaceChildren(
      element("h3", { text: `a ${layers.a[i]} and b ${layers.b[j]}` }),
      element("p", { text: `a: ${names.a}, ${this.depth("a", i)}; b: ${names.b}, ${this.depth("b", j)}` }),
      element("table", {}, [element("tbody", {}, this.rows(i, j).map(([name, value, key]) => element("tr", {}, [element("th", { scope: "row", text: name }), element("td", { text: value, "data-key": key })])))]),
      element("p", { text: kept ? `Kept.${this.texts ? " Its texts are below the picture." : ""}` : `Click, or press Enter, to keep it${this.texts ? " and list its texts" : ""}.` }),
    );
  }

  depth(side, place) {
    const depth = this.matrix.depth[side][place];
    return Number.isFinite(depth) ? `depth ${depth.toFixed(2)}` : "no depth";
  }

  rows(i, j) {
    const { values, layers, metric, level } = this.matrix;
    const place = i * layers.b.length + j;
    const of = (name) => values[name]?.[place];
    const interval = values.ci_low ? `${shown(of("ci_low"))} to ${shown(of("ci_high"))}` : "not computed";
    const rows = [[metric, shown(of("affinity")), "affinity"], ["chance", values.chance ? shown(of("chance")) : "not known", "chance"], [`${Math.round(level * 100)} % interval`, interval, "interval"]];
    if (!values.null_mean) return [...rows, ["null", "not computed", "null"]];
    rows.push(["null: mean, deviation", `${shown(of("null_mean"))}, ${shown(of("null_sd"))}`, "null"], ["z", shown(of("z")), "z"]);
    if (values.calibrated) rows.push(["calibrated", shown(of("calibrated")), "calibrated"]);
    rows.push(["p, this cell alone", shownP(of("p_value")), "p_value"], ["p, family-wise", shownP(of("p_fwer")), "p_fwer"], ["p, false discovery", shownP(of("p_fdr")), "p_fdr"]);
    return rows;
  }
}
