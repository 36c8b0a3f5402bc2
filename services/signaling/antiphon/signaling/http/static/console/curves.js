// Curves over the call's time, drawn by hand in SVG: one picture for each figure, with its text for a screen reader.

import { el, svg } from "./dom.js";
import { duration, number } from "./format.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [420, 130, 40, 18];
const MOST = 1500; // points of a line that are drawn

/** The figures `timeline.curves` gives, for `until` seconds. */
export function pictures(figures, seconds) {
  return figures.map((figure) => picture(figure, Math.max(1, seconds)));
}

function picture({ title, unit, lines }, seconds) {
  if (!lines.length) return el("p", { class: "hint" }, `${title}: nothing was reported.`);
  const top = nice(lines.reduce((most, line) => line.points.reduce((high, [, y]) => Math.max(high, y), most), 0));
  const x = (at) => LEFT + ((WIDTH - LEFT) * Math.min(seconds, Math.max(0, at))) / seconds;
  const y = (value) => 6 + (HEIGHT - BOTTOM - 6) * (1 - value / top);
  const said = lines.map((line) => `${line.name}: last ${number(line.points.at(-1)[1], 1)} ${unit}, at most ${number(Math.max(...line.points.slice(-MOST).map(([, v]) => v)), 1)} ${unit}`).join("; ");
  return el("figure", { class: "curve" },
    el("figcaption", {}, `${title} (${unit})`),
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${said}` },
      [0, top / 2, top].map((value) => svg("g", {},
        svg("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
        svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, number(value, top < 4 ? 1 : 0)))),
      svg("text", { x: LEFT, y: HEIGHT - 4 }, "0:00"),
      svg("text", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, duration(seconds)),
      lines.map((line, n) => svg("polyline", { class: `line line-${n}`, points: thin(line.points).map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }))),
    el("ul", { class: "legend" }, lines.map((line, n) => el("li", {}, el("span", { class: `swatch line-${n}`, "aria-hidden": "true" }), line.name))));
}

function thin(points) {
  const step = Math.ceil(points.length / MOST);
  return step > 1 ? points.filter((_, n) => n % step === 0) : points;
}

/** The next of 1, 2, 5, 10 ... above. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}
