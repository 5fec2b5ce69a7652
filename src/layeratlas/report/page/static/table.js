// A table of many rows: sorted by its heads, filtered by a word, drawn where it is scrolled to, saved as CSV.

const ROW = 26;  // pixels, as page.css draws a row of this size
const AROUND = 12;  // rows drawn above and below what is seen
const PRINTED = 200;  // rows on paper

function valueAt(column, row) {
  const value = column.values[row];
  return column.kind === "truth" ? Boolean(value) : value;
}

function cellText(column, row) {
  const value = valueAt(column, row);
  if (column.kind === "text") return value === null ? "–" : value;
  if (column.kind === "link" || column.kind === "picture") return "";
  if (column.kind === "truth") return value ? "yes" : "no";
  if (column.kind === "whole") return Number.isNaN(value) ? "–" : String(value);
  return /(^|_)p(_|$)/.test(column.name) ? shownP(value) : shown(value);
}

function csvCell(column, row) {
  const value = valueAt(column, row);
  if (value === null || Number.isNaN(value)) return "";
  return column.kind === "text" ? csvText(value) : column.kind === "truth" ? (value ? "True" : "False") : String(value);
}

// As files/cells.py: a text that a spreadsheet would take for a formula begins with an apostrophe.
function csvText(text) {
  const formula = /^[=+\-@\t\r\n]/.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text);
  const guarded = (formula ? "'" : "") + text;
  return /[",\n\r]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}

function csvOf(table) {
  const lines = [table.columns.map((column) => csvText(column.name)).join(",")];
  for (let row = 0; row < table.rows; row++) lines.push(table.columns.map((column) => csvCell(column, row)).join(","));
  return lines.join("\n") + "\n";
}

function saveTable(table) {
  save(`${table.name}.csv`, csvOf(table));
}

class Table {
  constructor(host, table, { onpoint = () => {}, onchoose = () => {}, onorder = () => {} } = {}) {
    Object.assign(this, { table, onpoint, onchoose, onorder, order: [...Array(table.rows).keys()], sorted: null, down: false, chosen: new Set() });
    this.count = element("span", { class: "note" });
    const filter = element("input", { type: "search", "aria-label": `Filter ${table.name}`, placeholder: "filter", oninput: () => this.filter(filter.value) });
    this.box = element("div", { class: "rows", tabindex: "0", role: "region", "aria-label": `Table ${table.name}`, onscroll: () => this.draw() });
    this.head = element("tr");
    this.body = element("tbody");
    this.heads = table.columns.map((column, place) => {
      const button = element("button", { type: "button", text: column.name, onclick: () => this.sort(place) });
      const head = element("th", { scope: "col" }, [button]);
      this.head.append(head);
      return head;
    });
    this.box.append(element("table", { class: "data" }, [element("thead", {}, [this.head]), this.body]));
    const saving = element("button", { type: "button", text: "CSV", "aria-label": `Save ${table.name} as CSV`, onclick: () => saveTable(table) });
    host.append(element("div", { class: "controls" }, [filter, saving, this.count]), this.box);
    this.draw();
    window.addEventListener("beforeprint", () => this.draw(PRINTED));
    window.addEventListener("afterprint", () => this.draw());
  }

  filter(word) {
    const wanted = word.trim().toLowerCase();
    const holds = (row) => this.table.columns.some((column) => cellText(column, row).toLowerCase().includes(wanted));
    this.order = [...Array(this.table.rows).keys()].filter((row) => !wanted || holds(row));
    this.arrange();
  }

  sort(place) {
    this.down = this.sorted === place && !this.down;
    this.sorted = place;
    this.heads.forEach((head, i) => head.setAttribute("aria-sort", i !== place ? "none" : this.down ? "descending" : "ascending"));
    this.arrange();
  }

  arrange() {
    if (this.sorted !== null) {
      const column = this.table.columns[this.sorted];
      const sign = this.down ? -1 : 1;
      const missing = (row) => column.values[row] === null || Number.isNaN(column.values[row]);
      const names = new Intl.Collator("en", { numeric: true });
      const compared = (i, j) => (column.kind === "text" || column.kind === "link" ? names.compare(column.values[i], column.values[j]) : column.values[i] - column.values[j]);
      this.order.sort((i, j) => missing(i) - missing(j) || (missing(i) ? i - j : sign * compared(i, j)) || i - j);
    }
    this.box.scrollTop = 0;
    this.draw();
    this.onorder(this.order);
  }

  choose(rows) {
    this.chosen = new Set(rows);
    const place = this.order.findIndex((row) => this.chosen.has(row));
    const top = place * ROW;
    if (place >= 0 && (top < this.box.scrollTop || top > this.box.scrollTop + this.box.clientHeight - 3 * ROW)) this.box.scrollTop = Math.max(0, top - 3 * ROW);
    this.draw();
  }

  // The rows that are seen, or the first ones of the table, for paper.
  draw(printed = 0) {
    const { rows, of, name } = this.table;
    const left = of > rows ? `; the page holds the first ${rows.toLocaleString("en")} of ${of.toLocaleString("en")}, ${name}.parquet all` : "";
    this.count.textContent = `${this.order.length.toLocaleString("en")} of ${rows.toLocaleString("en")} rows${left}`;
    if (printed) {
      this.body.replaceChildren(...this.order.slice(0, printed).map((row) => this.row(row)));
      if (this.order.length > printed) this.count.textContent = `the first ${printed} of ${rows.toLocaleString("en")} rows`;
      return;
    }
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - AROUND);
    const last = Math.min(this.order.length, first + Math.ceil((this.box.clientHeight || 420) / ROW) + 2 * AROUND);
    this.body.replaceChildren(this.gap(first), ...this.order.slice(first, last).map((row) => this.row(row)), this.gap(this.order.length - last));
  }

  gap(rows) {
    const cell = element("td", { colspan: this.table.columns.length });
    const made = element("tr", { "aria-hidden": "true" }, [cell]);
    cell.style.cssText = `height:${rows * ROW}px;padding:0;border:0`;
    made.hidden = rows <= 0;
    return made;
  }

  row(row) {
    const cells = this.table.columns.map((column) => {
      if (column.kind === "picture") return element("td", { class: "small" }, [column.picture(row)]);
      if (column.kind === "link") return element("td", {}, column.values[row] ? [element("a", { href: column.values[row], text: "open", "aria-label": `Page of row ${row + 1}` })] : []);
      const text = cellText(column, row);
      return element("td", { class: column.kind === "text" || column.kind === "truth" ? null : "figure", title: text.length > 40 ? text : null, text });
    });
    const made = element("tr", { class: this.chosen.has(row) ? "chosen" : null, onmouseenter: () => this.onpoint(row), onclick: () => this.onchoose(row) }, cells);
    made.style.height = `${ROW}px`;
    return made;
  }
}
