// What carries a kept cell: groups and single items without which it changes, and what lengths and tokens account for.

class Explain {
  constructor(host, matrix, influence, items) {
    Object.assign(this, { host, matrix, influence, items });
    const what = influence ? "Choose a cell of the matrix: what carries it is listed here." : "analysis=[diagonal,influence] says which groups of items and which texts carry a cell, and how much of it lengths and tokens account for.";
    host.append(element("p", { class: "note", text: what }));
  }

  show([i, j]) {
    if (!this.influence) return;
    const place = i * this.matrix.layers.b.length + j;
    this.host.replaceChildren(element("p", { text: this.carried(place) }));
    for (const account of this.influence.accounts) this.host.append(element("p", { text: this.accounted(account, place) }));
    const charts = element("div", { class: "charts wide-charts" });
    this.host.append(charts);
    new Chart(charts, this.chart(place, [i, j]));
    this.single([i, j]);
  }

  // Of one cell, a value for each group.
  of(key, place) {
    const cells = this.matrix.values.affinity.length;
    const at = key === "change" ? this.influence.groups.map((_, group) => group) : this.influence.kinds;
    return at.map((row) => this.influence[key][row * cells + place]);
  }

  carried(place) {
    const [change, random, sd] = ["change", "random", "random_sd"].map((key) => this.of(key, place));
    const far = change.map((one, group) => (sd[group] > 0 ? (one - random[group]) / sd[group] : 0));
    const most = far.reduce((best, one, group) => (Math.abs(one) > Math.abs(far[best]) ? group : best), 0);
    const { groups, sizes } = this.influence;
    const told = `${groups[most]} (${sizes[most]} items) changes it by ${signed(change[most])}; leaving out as many random items by ${signed(random[most])} on average, with a deviation of ${shown(sd[most])}.`;
    return Math.abs(far[most]) > 3 ? `Leaving out ${told}` : `No group of items carries this cell. Leaving out the strongest, ${told}`;
  }

  accounted({ name, without, share }, place) {
    const left = `Without what ${name} explains, the value is ${shown(without[place])} instead of ${shown(this.matrix.values.affinity[place])}`;
    if (!Number.isFinite(share[place])) return `${left}; it is not shown to be above chance, so that there is no share.`;
    return `${left}: ${name} accounts for ${Math.round(100 * share[place])} % of what is above chance.`;
  }

  chart(place, [i, j]) {
    const { groups, sizes } = this.influence;
    const x = groups.map((_, group) => group);
    const [change, random, sd] = ["change", "random", "random_sd"].map((key) => this.of(key, place));
    return {
      title: `a ${this.matrix.layers.a[i]} and b ${this.matrix.layers.b[j]} without each group of items`,
      x: "group that is left out", y: `change of ${this.matrix.metric}`, ticks: groups, rules: [0], equal: false,
      note: "Below 0: this group makes the layers more alike. Band: as many random items, two deviations.",
      series: [
        { name: "without the group", style: "points", x, y: change, low: null, high: null, labels: groups.map((name, group) => `${name}, ${sizes[group]} items`) },
        { name: "without random items", style: "dotted", x, y: random, low: random.map((one, group) => one - 2 * sd[group]), high: random.map((one, group) => one + 2 * sd[group]), labels: null },
      ],
    };
  }

  // The single items that move a cell most, of the nearest cell that they were left out of.
  single([i, j]) {
    const { items } = this.influence;
    if (!items.length) return;
    const far = ({ cell }) => Math.abs(cell[0] - i) / this.matrix.layers.a.length + Math.abs(cell[1] - j) / this.matrix.layers.b.length;
    const nearest = items.reduce((best, one) => (far(one) < far(best) ? one : best));
    const [a, b] = [this.matrix.layers.a[nearest.cell[0]], this.matrix.layers.b[nearest.cell[1]]];
    const here = nearest.cell[0] === i && nearest.cell[1] === j ? "this cell" : `a ${a} and b ${b}, the nearest cell of the best path in which items were left out one by one`;
    const half = Math.ceil(nearest.item.length / 2);
    const places = [...nearest.item.keys()];
    this.host.append(
      element("p", { class: "note", text: `Of ${here}: ${nearest.of} texts were left out one by one. Numbers: change without the text, less the mean change.` }),
      element("div", { class: "agree" }, [
        this.list("Texts that make these layers more alike", places.slice(0, half), nearest),
        this.list("Texts that make them less alike", places.slice(half).reverse(), nearest),
      ]),
    );
  }

  list(title, places, { item, beyond }) {
    const entries = places.map((place) => element("li", { class: "text" }, [
      element("div", { class: "id", text: `${this.idOf(item[place])}: ${signed(beyond[place])}` }),
      ...(this.textOf(item[place]) === null ? [] : [folded(this.textOf(item[place]), SHORT)]),
    ]));
    return element("div", {}, [element("h4", { text: title }), element("ol", {}, entries)]);
  }

  textOf(item) {
    return this.items.texts ? this.items.texts.a[item] : null;
  }

  idOf(item) {
    return this.items.texts ? this.items.texts.ids[item] : `item ${item + 1}`;
  }
}

function signed(value) {
  return value > 0 ? `+${shown(value)}` : shown(value).replace("-", "−");
}
