// The texts behind a cell: whose neighbourhoods in both layers agree most and least, and whose neighbours they are.

const LISTED = 6;
const SHORT = 160;  // characters of a neighbour, and of the chosen text, that are seen at once
const LONG = 600;

class Texts {
  constructor(host, matrix, items) {
    Object.assign(this, { host, matrix, items });
    if (!items.neighbours) {
      host.append(element("p", { text: `${matrix.metric} keeps no lists of neighbours, so no texts can be listed for a cell. A metric of neighbours, such as metric=mutual_knn, does.` }));
    } else {
      host.append(element("p", { text: "Choose a cell of the matrix: its texts are listed here." }));
    }
  }

  // Of the item in this place among the chosen ones: its nearest in one layer, as rows of the items.
  neighbours(side, layer, place) {
    const { k } = this.items.neighbours;
    const start = (layer * this.items.chosen.length + place) * k;
    return this.items.neighbours[side].subarray(start, start + k);
  }

  show([i, j]) {
    if (!this.items.neighbours) return;
    const { chosen, n } = this.items;
    const { layers } = this.matrix;
    const { k } = this.items.neighbours;
    const shared = Array.from(chosen, (_, place) => {
      const b = new Set(this.neighbours("b", j, place));
      return this.neighbours("a", i, place).reduce((count, item) => count + b.has(item), 0);
    });
    const order = Array.from(chosen.keys()).sort((x, y) => shared[y] - shared[x] || x - y);
    const mean = shared.reduce((sum, one) => sum + one, 0) / (k * shared.length);
    const sample = chosen.length < n ? ` The page holds the lists of ${chosen.length} of the ${n} texts, drawn by the run's seed; neighbors.npz holds all.` : "";
    const cut = this.items.texts ? "" : " The texts themselves were left out of this page (report.texts=false).";
    this.venn = element("div");
    this.host.replaceChildren(
      element("p", { class: "note", text: `Of each text's ${k} nearest texts in a ${layers.a[i]} and in b ${layers.b[j]}, ${(mean * k).toFixed(1)} are the same on average.${sample}${cut} Choose a text to see its neighbours.` }),
      element("div", { class: "agree" }, [
        this.list("Neighbourhoods that agree most", order.slice(0, LISTED), shared, [i, j]),
        this.list("Neighbourhoods that agree least", order.slice(-LISTED).reverse(), shared, [i, j]),
      ]),
      this.venn,
    );
    this.choose(order[0], [i, j], this.host.querySelector(".agree button"));
  }

  list(title, places, shared, cell) {
    const { k } = this.items.neighbours;
    const entry = (place) => {
      const button = element("button", { type: "button", "aria-pressed": "false", onclick: () => this.choose(place, cell, button) }, [
        element("span", { class: "snippet", dir: "auto", text: this.textOf(this.items.chosen[place], "a") ?? this.idOf(this.items.chosen[place]) }),
        element("span", { class: "shared", text: `${shared[place]} of ${k} shared` }),
      ]);
      return element("li", {}, [button]);
    };
    return element("div", {}, [element("h4", { text: title }), element("ol", {}, places.map(entry))]);
  }

  choose(place, [i, j], button) {
    for (const other of this.host.querySelectorAll(".agree button")) other.setAttribute("aria-pressed", String(other === button));
    const { layers } = this.matrix;
    const a = [...this.neighbours("a", i, place)];
    const b = [...this.neighbours("b", j, place)];
    const both = a.filter((item) => b.includes(item));
    const parts = [
      [`Only in a ${layers.a[i]}`, a.filter((item) => !b.includes(item)), "a"],
      ["In both", both, "both"],
      [`Only in b ${layers.b[j]}`, b.filter((item) => !a.includes(item)), "b"],
    ];
    const item = this.items.chosen[place];
    this.venn.replaceChildren(
      this.text(item, "both", "blockquote"),
      element("div", { class: "venn" }, [
        circles(parts.map(([, items]) => items.length), layers.a[i], layers.b[j]),
        element("div", { class: "venn-lists" }, parts.map(([title, items, side]) => element("div", { class: items.length ? null : "none" }, [
          element("h4", { text: `${title}: ${items.length}` }),
          element("ol", {}, items.map((one) => this.text(one, side, "li"))),
        ]))),
      ]),
    );
  }

  text(item, side, kind) {
    const sides = this.items.texts?.b ? (side === "both" ? ["a", "b"] : [side]) : ["a"];
    const texts = sides.map((one) => folded(this.textOf(item, one) ?? "", kind === "blockquote" ? LONG : SHORT));
    return element(kind, { class: "text" }, [element("div", { class: "id", text: this.idOf(item) }), ...texts]);
  }

  textOf(item, side) {
    const texts = this.items.texts;
    return texts ? (texts[side] ?? texts.a)[item] : null;
  }

  idOf(item) {
    return this.items.texts ? this.items.texts.ids[item] : `item ${item + 1}`;
  }
}

// A text, of which what is longer than `most` characters unfolds.
function folded(text, most) {
  if (text.length <= most) return element("div", { dir: "auto", text });
  const open = () => (summary.textContent = made.open ? text : start);
  const start = `${text.slice(0, most)} …`;
  const summary = element("summary", { text: start });
  const made = element("details", { dir: "auto", ontoggle: open }, [summary]);
  return made;
}

// Two circles that overlap by the share of neighbours that both sides have.
function circles([onlyA, both, onlyB], a, b) {
  const share = both / (onlyA + both || 1);
  const apart = 36 + (1 - share) * 62;
  const middle = 135;
  const circle = (x, side) => drawn("circle", { cx: x, cy: 80, r: 60, class: `circle-${side}` });
  const label = (x, y, text) => drawn("text", { x, y, "text-anchor": "middle", text });
  return drawn("svg", { viewBox: "0 0 270 170", role: "img", "aria-label": `Only in a ${a}: ${onlyA}; in both: ${both}; only in b ${b}: ${onlyB}` }, [
    circle(middle - apart / 2, "a"),
    circle(middle + apart / 2, "b"),
    label(middle - apart / 2 - 34, 84, String(onlyA)),
    label(middle, 84, both ? String(both) : ""),
    label(middle + apart / 2 + 34, 84, String(onlyB)),
    drawn("text", { x: 4, y: 160, text: `a ${a}` }),
    drawn("text", { x: 266, y: 160, "text-anchor": "end", text: `b ${b}` }),
  ]);
}
