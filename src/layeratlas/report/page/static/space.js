// Points in three dimensions on a flat canvas: turned, moved and drawn from back to front. Needs no WebGL.

const START = { turn: 0.6, tilt: 0.45, zoom: 1 };
const SHAPES = ["circle", "square", "triangle", "diamond", "cross"];

class Space {
  // `onpoint(point)` is told of the point that is pointed at, -1 for none.
  constructor(host, label, { onpoint }) {
    Object.assign(this, { onpoint, view: { ...START }, at: -1, points: [], lines: [] });
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.box = element("div", { class: "space", tabindex: "0", role: "application", "aria-roledescription": "scatter plot", "aria-label": label }, [this.canvas]);
    host.append(this.box);
    this.canvas.addEventListener("pointerdown", (event) => this.grab(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.canvas.addEventListener("pointerup", () => (this.held = null));
    this.canvas.addEventListener("pointerleave", () => !this.held && this.point(-1));
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(host);
    themed.push(() => this.draw());
  }

  // `points`: { place, colour, shape, size, faint }, place of three numbers, the third 0 in a flat picture; `lines`: { from, to, style }.
  show(points, lines, flat, axes) {
    Object.assign(this, { points, lines, flat, axes });
    const held = points.flatMap(({ place }) => place);
    this.reach = Math.max(1e-12, held.reduce((most, one) => Math.max(most, Math.abs(one)), 0));
    this.draw();
  }

  reset() {
    this.view = { ...START };
    this.draw();
  }

  grab(event) {
    this.held = [event.clientX, event.clientY];
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (this.held && event.buttons) {
      const [x, y] = this.held;
      this.held = [event.clientX, event.clientY];
      this.rotate((event.clientX - x) / 150, (event.clientY - y) / 150);
      return;
    }
    const box = this.canvas.getBoundingClientRect();
    this.point(this.nearest(event.clientX - box.left, event.clientY - box.top));
  }

  wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.box) return;  // the page scrolls, unless the picture was chosen
    event.preventDefault();
    this.scale(event.deltaY < 0 ? 1.12 : 1 / 1.12);
  }

  key(event) {
    const turns = { ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, -0.12], ArrowDown: [0, 0.12] }[event.key];
    if (turns) this.rotate(...turns);
    else if (event.key === "+" || event.key === "=") this.scale(1.12);
    else if (event.key === "-") this.scale(1 / 1.12);
    else if (event.key === "Home") this.reset();
    else if (event.key === "n" || event.key === "p") this.step(event.key === "n" ? 1 : -1);
    else return;
    event.preventDefault();
  }

  step(by) {
    if (!this.points.length) return;
    this.point((this.at + by + this.points.length) % this.points.length);
    speak(this.told ?? "");
  }

  rotate(turn, tilt) {
    if (this.flat) return;
    this.view.turn += turn;
    this.view.tilt = Math.min(Math.max(this.view.tilt + tilt, -Math.PI / 2), Math.PI / 2);
    this.draw();
  }

  scale(by) {
    this.view.zoom = Math.min(Math.max(this.view.zoom * by, 0.2), 40);
    this.draw();
  }

  point(at) {
    if (at === this.at) return;
    this.at = at;
    this.told = this.onpoint(at);
    this.draw();
  }

  nearest(x, y) {
    let [best, least] = [-1, 14 ** 2];
    (this.seen ?? []).forEach(([px, py], at) => {
      const far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least) [best, least] = [at, far];
    });
    return best;
  }

  // Where a place is seen: across and down in pixels, and how near.
  seenAt([x, y, z]) {
    const { turn, tilt, zoom } = this.flat ? { turn: 0, tilt: 0, zoom: this.view.zoom } : this.view;
    const across = x * Math.cos(turn) + z * Math.sin(turn);
    const back = z * Math.cos(turn) - x * Math.sin(turn);
    const up = y * Math.cos(tilt) - back * Math.sin(tilt);
    const near = back * Math.cos(tilt) + y * Math.sin(tilt);
    const unit = (0.4 * Math.min(this.wide, this.high) * zoom) / this.reach;
    return [this.wide / 2 + across * unit, this.high / 2 - up * unit, near];
  }

  draw() {
    this.wide = this.box.clientWidth;
    this.high = Math.min(560, Math.max(320, this.wide * 0.66));
    if (!this.wide || !this.axes) return;
    this.paper = prepared(this.canvas, this.wide, this.high);
    this.seen = this.points.map(({ place }) => this.seenAt(place));
    this.frame();
    for (const line of this.lines) this.line(line);
    const order = [...this.points.keys()].sort((one, other) => this.seen[one][2] - this.seen[other][2]);
    for (const at of order) this.dot(at);
    if (this.at >= 0 && this.at < this.points.length) this.ring(this.at, 3);
  }

  frame() {
    const paper = this.paper;
    paper.strokeStyle = colourOf("--line");
    paper.fillStyle = colourOf("--soft");
    paper.font = "11px system-ui, sans-serif";
    paper.lineWidth = 1;
    const axes = this.flat ? this.axes.slice(0, 2) : this.axes;
    axes.forEach((name, axis) => {
      const end = [0, 0, 0];
      end[axis] = this.reach * 1.12; // beyond the farthest point, where its name covers none
      const [from, to] = [this.seenAt(end.map((one) => -one)), this.seenAt(end)];
      paper.beginPath();
      paper.moveTo(from[0], from[1]);
      paper.lineTo(to[0], to[1]);
      paper.stroke();
      paper.textAlign = to[0] > this.wide / 2 + 1 ? "right" : "left";
      paper.fillText(name, Math.min(Math.max(to[0], 4), this.wide - 4), Math.min(Math.max(to[1] - 5, 12), this.high - 5));
    });
  }

  line({ from, to, style, colour }) {
    const paper = this.paper;
    paper.save();
    paper.strokeStyle = colour ?? colourOf("--stroke");
    paper.globalAlpha = style === "strong" ? 1 : 0.45;
    paper.lineWidth = style === "strong" ? 2.2 : 1;
    if (style === "dotted") paper.setLineDash([2, 3]);
    paper.beginPath();
    paper.moveTo(this.seen[from][0], this.seen[from][1]);
    paper.lineTo(this.seen[to][0], this.seen[to][1]);
    paper.stroke();
    paper.restore();
  }

  dot(at) {
    const { colour, shape, size } = this.points[at];
    const [x, y] = this.seen[at];
    this.paper.fillStyle = colour;
    this.paper.strokeStyle = colour;
    outlineOf(this.paper, SHAPES[shape % SHAPES.length], x, y, size);
  }

  ring(at, room) {
    const [x, y] = this.seen[at];
    this.paper.strokeStyle = colourOf("--ink");
    this.paper.lineWidth = 2;
    this.paper.beginPath();
    this.paper.arc(x, y, this.points[at].size + room, 0, 2 * Math.PI);
    this.paper.stroke();
  }
}

function outlineOf(paper, shape, x, y, size) {
  paper.beginPath();
  if (shape === "circle") paper.arc(x, y, size, 0, 2 * Math.PI);
  else if (shape === "square") paper.rect(x - size * 0.85, y - size * 0.85, size * 1.7, size * 1.7);
  else if (shape === "triangle") [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]].forEach(([dx, dy]) => paper.lineTo(x + dx * size, y + dy * size));
  else if (shape === "diamond") [[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]].forEach(([dx, dy]) => paper.lineTo(x + dx * size, y + dy * size));
  else {
    paper.lineWidth = Math.max(1.5, size / 2.2);
    paper.moveTo(x - size, y - size);
    paper.lineTo(x + size, y + size);
    paper.moveTo(x + size, y - size);
    paper.lineTo(x - size, y + size);
    paper.stroke();
    return;
  }
  paper.fill();
}
