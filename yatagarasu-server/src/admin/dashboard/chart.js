// Draws curves as SVG: the small ones of the tiles, and charts with axes and a table of their values.
// The table is also what a screen reader gets, so that the drawing itself is one picture with a short description.

import { clock, duration } from "./format.js";
import { make, shape, text } from "./dom.js";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// Events come each second. A curve must not bridge the time without a connection.
const GAP = 5;

/** Points of a series as pieces without a gap in them. */
function pieces(points, value) {
  const found = [];
  let piece = null;
  for (const point of points) {
    const known = isNumber(value(point));
    if (!known || (piece && point.time - piece.at(-1).time > GAP)) piece = null;
    if (!known) continue;
    if (!piece) found.push((piece = []));
    piece.push(point);
  }
  return found;
}

const place = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/** The small curve of a tile. Returns a function that draws points. `max` is the upper end of a fixed scale. */
export function sparkline(svg, field, max) {
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const area = shape("path", { class: "area" });
  const line = shape("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  svg.append(area, line);
  const value = (point) => point[field];
  return ({ points, now, span }) => {
    const top = max ?? Math.max(...points.map(value).filter(isNumber), 0);
    const x = (point) => 100 - ((now - point.time) / span) * 100;
    const y = (point) => 23 - (top > 0 ? value(point) / top : 0) * 22;
    const parts = pieces(points, value);
    line.setAttribute("d", parts.map((piece) => `M${piece.map((p) => place(x(p), y(p))).join("L")}`).join(""));
    area.setAttribute("d", parts.map((piece) =>
      `M${place(x(piece[0]), 24)}L${piece.map((p) => place(x(p), y(p))).join("L")}L${place(x(piece.at(-1)), 24)}Z`,
    ).join(""));
  };
}

/** The upper end of an axis, and the step between its lines: 1, 2 or 5 times a power of ten. */
function scale(max) {
  const raw = Math.max(max, 1) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw - 1e-9);
  return { step, top: Math.ceil(Math.max(max, 1) / step - 1e-9) * step };
}

/**
 * A chart in a figure. Each of `series` has a `field` of the points, a `label`, and is an area on the one before
 * (`stacked`) or a line. `format` writes a value. `total` is a further field for the table.
 */
export class Chart {
  height = 208;
  left = 58;
  bottom = 20;
  cursor = null; // seconds before now

  constructor(figure, { series, stacked = false, format, total = null, what }) {
    Object.assign(this, { series, stacked, format, total, what });
    this.svg = shape("svg", { class: "chart", role: "img", tabindex: "0" });
    this.grid = shape("g", { class: "grid" });
    this.curves = shape("g");
    this.mark = shape("line", { class: "cursor", y1: 4, y2: this.height - this.bottom, visibility: "hidden" });
    this.svg.append(this.grid, this.curves, this.mark);
    for (const { field } of series) {
      const path = shape("path", { class: stacked ? `stacked of-${field}` : `plain of-${field}` });
      this.curves.append(path);
    }
    figure.append(make("div", "drawing", this.svg), this.table());
    this.listen();
  }

  table() {
    this.when = make("th", "", "now");
    const head = make("tr", "", make("th"), this.when, make("th", "", "mean"), make("th", "", "highest"));
    for (const cell of head.cells) cell.scope = "col";
    head.cells[0].append(make("span", "hidden", "series"));
    const rows = [...this.series].reverse();
    if (this.total) rows.unshift({ field: this.total, label: "all" });
    this.rows = rows.map(({ field, label }) => {
      const name = make("th", "", make("span", `swatch of-${field}`), label);
      name.scope = "row";
      const row = make("tr", field === this.total ? "total" : "", name, make("td"), make("td"), make("td"));
      return { field, cells: [...row.cells].slice(1), row };
    });
    const body = make("tbody", "", ...this.rows.map(({ row }) => row));
    const caption = make("caption", "hidden", `${this.what}, in numbers`);
    return make("table", "legend", caption, make("thead", "", head), body);
  }

  // A pointer, or the arrow keys, choose the second that the table shows.
  listen() {
    const choose = (seconds) => {
      this.cursor = seconds === null ? null : Math.min(this.span, Math.max(0, seconds));
      this.draw();
    };
    this.svg.addEventListener("pointermove", (event) => {
      const box = this.svg.getBoundingClientRect();
      const ratio = (event.clientX - box.left - this.left) / (box.width - this.left);
      choose(ratio < 0 ? null : (1 - ratio) * this.span);
    });
    this.svg.addEventListener("pointerleave", () => choose(null));
    this.svg.addEventListener("blur", () => choose(null));
    this.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: 1, ArrowRight: -1, PageUp: 30, PageDown: -30 }[event.key];
      if (event.key === "Escape") choose(null);
      if (!step) return;
      event.preventDefault();
      choose((this.cursor ?? 0) + step);
    });
  }

  /** Draws a history, or the last one anew. */
  draw({ points, now, span } = this) {
    if (!points) return;
    Object.assign(this, { points, now, span });
    this.width = Math.max(240, this.svg.clientWidth);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    const tops = points.map((point) => this.stacked
      ? this.series.reduce((sum, { field }) => sum + (point[field] || 0), 0)
      : Math.max(...this.series.map(({ field }) => point[field] || 0)));
    this.axis = scale(Math.max(0, ...tops));
    this.drawGrid();
    this.drawCurves();
    this.drawTable();
  }

  x = (point) => this.width - ((this.now - point.time) / this.span) * (this.width - this.left);
  y = (value) => this.height - this.bottom - (value / this.axis.top) * (this.height - this.bottom - 8);

  drawGrid() {
    const { step, top } = this.axis;
    const key = `${step} ${top} ${this.width} ${this.span}`;
    if (key === this.drawnGrid) return;
    this.drawnGrid = key;
    this.grid.replaceChildren();
    for (let value = 0; value <= top + step / 2; value += step) {
      const y = this.y(value);
      const label = shape("text", { x: this.left - 6, y: y + 4, "text-anchor": "end" });
      label.textContent = this.format(value);
      this.grid.append(shape("line", { x1: this.left, x2: this.width, y1: y, y2: y }), label);
    }
    const interval = this.span > 240 ? 60 : this.span / 4;
    for (let ago = 0; ago <= this.span; ago += interval) {
      const x = this.x({ time: this.now - ago });
      const label = shape("text", { x, y: this.height - 5, "text-anchor": ago === 0 ? "end" : "middle" });
      label.textContent = ago === 0 ? "now" : `−${interval < 60 ? `${ago} s` : `${ago / 60} min`}`;
      this.grid.append(label);
    }
  }

  drawCurves() {
    const shown = this.points.filter((point) => this.now - point.time <= this.span);
    const base = new Map(shown.map((point) => [point, 0]));
    this.series.forEach(({ field }, index) => {
      const value = (point) => point[field];
      const path = pieces(shown, value).map((piece) => {
        const upper = piece.map((p) => place(this.x(p), this.y(base.get(p) + p[field])));
        if (!this.stacked) return `M${upper.join("L")}`;
        const lower = piece.map((p) => place(this.x(p), this.y(base.get(p)))).reverse();
        return `M${upper.join("L")}L${lower.join("L")}Z`;
      });
      // A series without any value draws nothing, not even a line on the one below.
      const isEmpty = this.stacked && !shown.some((point) => point[field] > 0);
      this.curves.children[index].setAttribute("d", isEmpty ? "" : path.join(""));
      if (this.stacked) for (const point of shown) base.set(point, base.get(point) + (point[field] || 0));
    });
  }

  drawTable() {
    const { points, cursor } = this;
    const wanted = this.now - (cursor ?? 0);
    const distance = (one) => Math.abs(one.time - wanted);
    const point = points.reduce((best, one) => (!best || distance(one) < distance(best) ? one : best), null);
    text(this.when, cursor === null || !point ? "now" : clock(point.at));
    this.mark.setAttribute("visibility", cursor === null || !point ? "hidden" : "visible");
    if (point) for (const end of ["x1", "x2"]) this.mark.setAttribute(end, this.x(point));
    for (const { field, cells } of this.rows) {
      const values = points.map((one) => one[field]).filter(isNumber);
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const shown = [point?.[field], mean, Math.max(...values)];
      cells.forEach((cell, index) => text(cell, this.format(shown[index])));
    }
    const time = points.length > 0 ? duration(this.now - points[0].time + 1) : "no time yet";
    const main = this.rows[0];
    const label = `${this.what} in ${time}: ${main.cells[0].textContent} ${this.when.textContent}, `
      + `${main.cells[1].textContent} on average, ${main.cells[2].textContent} at most. The table has each series.`;
    // While it is focused, a screen reader would read each change.
    if (document.activeElement !== this.svg || cursor !== null) this.svg.setAttribute("aria-label", label);
  }
}
