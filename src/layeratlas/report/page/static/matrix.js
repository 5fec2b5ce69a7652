// The affinity matrix as a picture: rows are a's layers, from the first at the bottom; columns b's.

const EDGE = { left: 52, right: 8, top: 8, bottom: 46 };
const LETTERS = "11px system-ui, sans-serif";
const CELL = { most: 22 };
const BESIDE = { wide: 360, least: 800 };

class Matrix {
  // `views`: name -> { label, values, diverging, why }; `masks`: name -> { label, values } with cells of more than `alpha` covered.
  constructor(host, { rows, columns, names, views, masks, alpha, path, room }, { onpoint = () => {}, onkeep = () => {} } = {}) {
    Object.assign(this, { rows, columns, names, views, masks, alpha, path, onpoint, onkeep, room: room ?? besideRoom(host), view: Object.keys(views)[0], mask: "", paths: false, at: null, kept: null, line: null });
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.left = Math.max(EDGE.left, widest(this.canvas, rows) + 24);
    this.right = Math.max(EDGE.right, widest(this.canvas, columns) / 2);
    this.box = element("div", { tabindex: "0", role: "application", "aria-roledescription": "heat map", "aria-label": `${names.a}, ${rows.length} layers, against ${names.b}, ${columns.length} layers. Arrow keys move from cell to cell, Enter keeps a cell.` }, [this.canvas]);
    this.scale = element("canvas", { "aria-hidden": "true" });
    this.scaleText = element("p", { class: "note" });
    host.append(this.box, this.scale, this.scaleText);
    this.best = new Float64Array(rows.length).map((_, i) => argmax(views[this.view].values, columns.length, i));
    this.canvas.addEventListener("pointermove", (event) => this.point(this.cellAt(event)));
    this.canvas.addEventListener("pointerleave", () => this.point(this.kept));
    this.canvas.addEventListener("click", (event) => this.keep(this.cellAt(event)));
    this.box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(host.parentElement);
    themed.push(() => this.draw());
    this.host = host;
  }

  show({ view = this.view, mask = this.mask, paths = this.paths }) {
    Object.assign(this, { view, mask, paths });
    this.draw();
  }

  values() {
    return this.views[this.view].values;
  }

  ends() {
    const { ends, values, diverging } = this.views[this.view];
    return ends ?? endsOf(values, diverging);
  }

  covered(i, j) {
    if (this.mask === "") return false;
    const p = this.views[this.view].masks?.[this.mask] ?? this.masks[this.mask].values;
    return !(p[i * this.columns.length + j] <= this.alpha);
  }

  size() {
    const wide = (this.room() - this.left - this.right) / this.columns.length;
    const high = 620 / this.rows.length;
    const cell = Math.min(CELL.most, wide, high);
    return cell >= 2 ? Math.floor(cell) : cell;  // whole pixels, unless the page is too narrow for them
  }

  corner(i, j) {
    return [this.left + j * this.cell, EDGE.top + (this.rows.length - 1 - i) * this.cell];
  }

  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const j = Math.floor((event.clientX - box.left - this.left) / this.cell);
    const i = this.rows.length - 1 - Math.floor((event.clientY - box.top - EDGE.top) / this.cell);
    return i >= 0 && j >= 0 && i < this.rows.length && j < this.columns.length ? [i, j] : null;
  }

  key(event) {
    const move = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (move) {
      event.preventDefault();
      const [i, j] = this.at ?? [-move[0], -move[1]];
      const within = (place, size) => Math.min(Math.max(place, 0), size - 1);
      this.point([within(i + move[0], this.rows.length), within(j + move[1], this.columns.length)]);
      speak(this.spoken());
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.keep(this.at);
    }
  }

  spoken() {
    const [i, j] = this.at;
    const covered = this.covered(i, j) ? ", masked" : "";
    return `a ${this.rows[i]}, b ${this.columns[j]}: ${shown(this.values()[i * this.columns.length + j])}${covered}`;
  }

  point(cell) {
    this.at = cell;
    this.line = null;
    this.marks();
    this.onpoint(cell);
  }

  // Marks a cell without telling others.
  mark(cell) {
    this.at = cell && cell[0] < this.rows.length && cell[1] < this.columns.length ? cell : null;
    this.marks();
  }

  keep(cell) {
    if (!cell) return;
    this.kept = cell;
    this.point(cell);
    this.onkeep(cell);
  }

  // Marks one layer's row (side a) or column (side b), as a curve is pointed at.
  markLine(side, place) {
    this.line = [side, place];
    this.marks();
  }

  draw() {
    if (!this.host.parentElement.clientWidth) return;
    this.cell = this.size();
    const wide = this.left + this.cell * this.columns.length + this.right;
    const high = EDGE.top + this.cell * this.rows.length + EDGE.bottom;
    this.host.style.width = `${Math.max(wide, Math.min(360, this.host.parentElement.clientWidth))}px`;
    this.paper = prepared(this.canvas, wide, high);
    this.cells();
    this.axes();
    if (this.paths) this.matches();
    this.picture = document.createElement("canvas");
    this.picture.width = this.canvas.width;
    this.picture.height = this.canvas.height;
    this.picture.getContext("2d").drawImage(this.canvas, 0, 0);
    this.marks();
    this.bar();
  }

  cells() {
    const { diverging } = this.views[this.view];
    const values = this.values();
    const [low, high] = this.ends();
    const cover = colourOf("--masked");
    const stroke = colourOf("--stroke");
    for (let i = 0; i < this.rows.length; i++) {
      for (let j = 0; j < this.columns.length; j++) {
        const [x, y] = this.corner(i, j);
        this.paper.fillStyle = `rgb(${mixed(diverging ? DIVERGING : SEQUENTIAL, (values[i * this.columns.length + j] - low) / (high - low))})`;
        this.paper.fillRect(x, y, this.cell, this.cell);
        if (!this.covered(i, j)) continue;
        this.paper.fillStyle = cover;
        this.paper.fillRect(x, y, this.cell, this.cell);
        this.paper.strokeStyle = stroke;
        this.paper.lineWidth = 0.6;
        this.paper.beginPath();
        this.paper.moveTo(x, y + this.cell);
        this.paper.lineTo(x + this.cell, y);
        this.paper.stroke();
      }
    }
  }

  axes() {
    const paper = this.paper;
    const foot = EDGE.top + this.cell * this.rows.length;
    paper.fillStyle = colourOf("--ink");
    paper.font = LETTERS;
    paper.textAlign = "right";
    paper.textBaseline = "middle";
    for (const i of labelled(this.rows, this.cell, 13)) paper.fillText(layerName(this.rows[i]), this.left - 5, this.corner(i, 0)[1] + this.cell / 2);
    paper.textAlign = "center";
    paper.textBaseline = "top";
    for (const j of labelled(this.columns, this.cell, widest(this.canvas, this.columns) + 6)) paper.fillText(layerName(this.columns[j]), this.corner(0, j)[0] + this.cell / 2, foot + 4);
    paper.fillText(fitted(paper, `b: layer of ${this.names.b}`, this.cell * this.columns.length + this.left), Math.max(this.left + (this.cell * this.columns.length) / 2, 110), foot + 24);
    paper.save();
    paper.translate(9, EDGE.top + (this.cell * this.rows.length) / 2);
    paper.rotate(-Math.PI / 2);
    paper.textBaseline = "middle";
    paper.fillText(fitted(paper, `a: layer of ${this.names.a}`, this.cell * this.rows.length + 20), 0, 0);
    paper.restore();
  }

  // The best match of each row as dots; the best one if depth never runs backwards as a line.
  matches() {
    const centre = (i, j) => this.corner(i, j).map((edge) => edge + this.cell / 2);
    const paper = this.paper;
    for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
      paper.strokeStyle = colour;
      paper.lineWidth = width;
      paper.beginPath();
      this.path?.forEach((j, i) => j !== null && paper.lineTo(...centre(i, j)));
      paper.stroke();
    }
    this.best.forEach((j, i) => {
      paper.beginPath();
      paper.arc(...centre(i, j), Math.max(1.5, Math.min(3.5, this.cell / 4)), 0, 2 * Math.PI);
      paper.fillStyle = "#fff";
      paper.strokeStyle = "#000";
      paper.lineWidth = 1;
      paper.fill();
      paper.stroke();
    });
  }

  marks() {
    if (!this.picture) return;
    const paper = this.paper;
    paper.save();
    paper.setTransform(1, 0, 0, 1, 0, 0);
    paper.clearRect(0, 0, this.canvas.width, this.canvas.height);
    paper.drawImage(this.picture, 0, 0);
    paper.restore();
    if (this.line) this.outline(this.line[0] === "a" ? [this.line[1], 0, 1, this.columns.length] : [this.rows.length - 1, this.line[1], this.rows.length, 1]);
    if (this.kept) this.outline([...this.kept, 1, 1], 3);
    if (this.at) this.outline([...this.at, 1, 1]);
  }

  outline([i, j, high, wide], extra = 0) {
    const [x, y] = this.corner(i, j);
    for (const [colour, width] of [["#000", 3 + extra], ["#fff", 1.5 + extra / 2]]) {
      this.paper.strokeStyle = colour;
      this.paper.lineWidth = width;
      this.paper.strokeRect(x, y, wide * this.cell, high * this.cell);
    }
  }

  bar() {
    const { label, diverging, why } = this.views[this.view];
    const [low, high] = this.ends();
    const wide = Math.min(260, this.room() - this.left - 30);
    const paper = prepared(this.scale, this.left + wide + 30, 30);
    for (let x = 0; x < wide; x++) {
      paper.fillStyle = `rgb(${mixed(diverging ? DIVERGING : SEQUENTIAL, x / (wide - 1))})`;
      paper.fillRect(this.left + x, 2, 1, 10);
    }
    paper.fillStyle = colourOf("--ink");
    paper.font = LETTERS;
    paper.textBaseline = "top";
    paper.textAlign = "center";
    for (const share of [0, 0.5, 1]) paper.fillText(shown(low + share * (high - low)), this.left + share * wide, 16);
    const mask = this.mask === "" || why.includes("Struck") ? "" : ` Struck cells: ${this.masks[this.mask].label} above ${this.alpha}.`;
    this.scaleText.textContent = `Colour: ${label}. ${why}${mask}`;
  }
}

// As much as leaves room for what stands beside the picture, or for the picture alone on a narrow page.
function besideRoom(host) {
  return () => host.parentElement.clientWidth - (host.parentElement.clientWidth > BESIDE.least ? BESIDE.wide : 0);
}

// How many pixels the widest name of these layers takes beside the picture.
function widest(canvas, layers) {
  const paper = canvas.getContext("2d");
  paper.save();
  paper.font = LETTERS;
  const wide = Math.max(...layers.map((name) => paper.measureText(layerName(name)).width));
  paper.restore();
  return wide;
}

function prepared(canvas, wide, high) {
  const dense = window.devicePixelRatio || 1;
  canvas.width = Math.round(wide * dense);
  canvas.height = Math.round(high * dense);
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  const paper = canvas.getContext("2d");
  paper.scale(dense, dense);
  return paper;
}

// Places of names that fit beside each other, each taking `room` pixels.
function labelled(names, cell, room) {
  const apart = Math.max(1, Math.ceil(room / cell));
  return names.map((_, place) => place).filter((place) => place % apart === 0);
}

function fitted(paper, text, room) {
  let shorter = text;
  while (shorter.length > 8 && paper.measureText(shorter).width > room) shorter = `${shorter.slice(0, -2)}…`;
  return shorter;
}

function argmax(values, columns, i) {
  let best = 0;
  for (let j = 1; j < columns; j++) if (values[i * columns + j] > values[i * columns + best]) best = j;
  return best;
}
