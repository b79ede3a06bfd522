"use strict";
// Bars whose parts are verdicts. Each is a link to the rows that it counts.
(() => {
  const { make, number, percent } = view;
  view.VERDICTS = ["correct", "incorrect", "undetermined", "none"];
  view.verdictNames = { none: "not judged" };

  // rows: [{name, n, query?, parts: {verdict: n}}]; the longest bar is as wide as the chart.
  view.bars = (rows) => {
    const most = Math.max(1, ...rows.map((r) => r.n));
    const total = rows.reduce((sum, r) => sum + r.n, 0);
    return make("ul", { class: "bars" }, ...rows.map((row) => bar(row, most, total)));
  };

  function bar(row, most, total) {
    const parts = row.parts ? view.VERDICTS.filter((v) => row.parts[v]).map((v) => [v, row.parts[v]]) : [["all", row.n]];
    const said = parts.map(([v, n]) => `${view.verdictNames[v] || v} ${number(n)}`).join(", ");
    const track = make("span", { class: "track" }, ...parts.map(([v, n]) => make("span", { class: `part ${v}`, width: `${(100 * n) / most}%` })));
    const inside = [make("span", { class: "label" }, row.name), track, make("span", { class: "n" }, number(row.n), " ", make("small", {}, percent(row.n, total)))];
    return make("li", { title: row.parts ? said : null }, row.query && row.n ? make("a", { href: view.link(row.query) }, ...inside) : make("span", { class: "row" }, ...inside));
  }

  view.legend = () =>
    make("p", { class: "legend" }, ...view.VERDICTS.flatMap((v) => [make("span", { class: `part ${v}` }), ` ${view.verdictNames[v] || v} `]));

  view.panel = (title, note, ...children) =>
    make("section", { class: "panel" }, make("h2", {}, title), note ? make("p", { class: "note" }, note) : null, ...children);
})();
