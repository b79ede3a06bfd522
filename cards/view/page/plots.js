"use strict";
// A curve in SVG: the mean as a line, lowest to highest as a band around it; the pointer reads a value off.
(() => {
  const { make } = view;
  const WIDE = 480, HIGH = 200, LEFT = 56, RIGHT = 26, TOP = 10, BOTTOM = 26; // units of the picture, scaled to its place
  const SVG = document.getElementById("svg").namespaceURI;

  const draw = (tag, attributes, ...children) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };

  view.figure = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, "e");
    return value.toLocaleString("en", { maximumSignificantDigits: 4 });
  };

  // At most six round numbers from low to high.
  function ticks(low, high) {
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const found = [];
    for (let n = Math.ceil(low / step); n * step <= high * (1 + 1e-9); n++) found.push(n * step);
    return found;
  }

  function scale(points) {
    let low = Infinity, high = -Infinity;
    for (const [, , least, most] of points) [low, high] = [Math.min(low, least), Math.max(high, most)];
    if (low === high) [low, high] = [low - Math.abs(low || 1) / 2, high + Math.abs(high || 1) / 2];
    const first = points[0][0], last = Math.max(points.at(-1)[0], first + 1);
    return {
      low, high, first, last,
      x: (step) => LEFT + ((step - first) / (last - first)) * (WIDE - LEFT - RIGHT),
      y: (value) => TOP + (1 - (value - low) / (high - low)) * (HIGH - TOP - BOTTOM),
    };
  }

  const path = (pairs) => pairs.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

  function axes(at) {
    const rows = ticks(at.low, at.high).flatMap((v) => [
      draw("line", { class: "rule", x1: LEFT, x2: WIDE - RIGHT, y1: at.y(v), y2: at.y(v) }),
      draw("text", { class: "tick", x: LEFT - 6, y: at.y(v) + 4, "text-anchor": "end" }, view.figure(v)),
    ]);
    const columns = ticks(at.first, at.last).map((s) => draw("text", { class: "tick", x: at.x(s), y: HIGH - 8, "text-anchor": "middle" }, s.toLocaleString("en")));
    return [...rows, ...columns];
  }

  // curve: {name, points: [[step, mean, lowest, highest]], broken}; `title` is what a person calls it, `marks` are steps at which a stage begins.
  view.plot = (curve, title, marks = []) => {
    const { points } = curve;
    const last = points.at(-1);
    const said = make("span", { class: "now" }, last ? view.figure(last[1]) : "–");
    const broken = curve.broken ? make("small", { class: "broken" }, `${view.number(curve.broken)} values are not numbers`) : null;
    const head = make("figcaption", {}, make("span", {}, title), said, broken);
    if (!points.length) return make("figure", { class: "plot", "data-name": curve.name }, head);
    const at = scale(points);
    const band = [...points.map((p) => [at.x(p[0]), at.y(p[3])]), ...points.toReversed().map((p) => [at.x(p[0]), at.y(p[2])])];
    const cross = draw("line", { class: "cross", y1: TOP, y2: HIGH - BOTTOM, x1: -9, x2: -9 });
    const dots = points.length === 1 ? [draw("circle", { class: "dot-one", cx: at.x(points[0][0]), cy: at.y(points[0][1]), r: 3 })] : [];
    const picture = draw(
      "svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${title}: ${last ? view.figure(last[1]) : ""} at step ${last[0]}` },
      ...axes(at), ...marks.map((step) => draw("line", { class: "mark", x1: at.x(step), x2: at.x(step), y1: TOP, y2: HIGH - BOTTOM })),
      draw("path", { class: "band", d: `${path(band)}Z` }), draw("path", { class: "line", d: path(points.map((p) => [at.x(p[0]), at.y(p[1])])) }), ...dots, cross,
    );
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      const step = at.first + (((event.clientX - box.left) / box.width) * WIDE - LEFT) / (WIDE - LEFT - RIGHT) * (at.last - at.first);
      const near = points.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
      cross.setAttribute("x1", at.x(near[0]));
      cross.setAttribute("x2", at.x(near[0]));
      const spread = near[2] === near[3] ? "" : ` (${view.figure(near[2])} to ${view.figure(near[3])})`;
      said.textContent = `${view.figure(near[1])}${spread} at step ${near[0].toLocaleString("en")}`;
    });
    picture.addEventListener("pointerleave", () => {
      cross.setAttribute("x1", -9);
      cross.setAttribute("x2", -9);
      said.textContent = view.figure(last[1]);
    });
    return make("figure", { class: "plot", "data-name": curve.name }, head, picture);
  };
})();
