"use strict";
// Where rows come from: the server that `factory view` runs, or, in report.html, the sample that the file itself holds.
(() => {
  const held = document.getElementById("held");
  const report = held ? JSON.parse(held.textContent) : null;
  view.isReport = report !== null;

  async function get(path) {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error((await answer.text()).slice(0, 300));
    return answer.json();
  }

  const mentions = (row, q) =>
    [row.head, row.detail, row.extracted].some((t) => (t || "").toLowerCase().includes(q)) || row.id.startsWith(q) || row.problem_id.startsWith(q);

  // The same rules as cards/view/rows.py: filtered().
  function matches(row, query) {
    const same = ["kind", "source", "domain", "teacher", "finish", "verdict", "fate"].every((k) => !query[k] || row[k] === query[k]);
    const within = (value, low, high) => (!low || (value !== null && value >= +low)) && (!high || (value !== null && value <= +high));
    return (
      same &&
      (!query.step || row.fate.startsWith(`${query.step}: `)) &&
      within(row.length, query.min_length, query.max_length) &&
      within(row.pass_rate, query.min_rate, query.max_rate)
    );
  }

  const ORDERS = { longest: ["length", -1], shortest: ["length", 1], hardest: ["pass_rate", 1], easiest: ["pass_rate", -1] };

  function fromReport(query) {
    const q = (query.q || "").toLowerCase();
    const texts = (id) => [report.details[id].trace?.reasoning, report.details[id].trace?.answer_text];
    const found = report.rows.filter((row) => {
      if (!matches(row, query)) return false;
      if (!q) return true;
      return query.deep ? texts(row.id).some((t) => (t || "").toLowerCase().includes(q)) : mentions(row, q);
    });
    const [column, sign] = ORDERS[query.sort] || [];
    if (column) found.sort((a, b) => (a[column] === null) - (b[column] === null) || sign * (a[column] - b[column]));
    const page = query.q && query.deep ? found : found.slice(query.start, query.start + 50);
    return { rows: page, total: found.length, next: null };
  }

  view.overview = () => (report ? Promise.resolve(report.overview) : get("api/overview"));
  view.list = (query) => (report ? Promise.resolve(fromReport(query)) : get(`api/rows?${new URLSearchParams(query)}`));
  view.row = async (id) => {
    if (!report) return get(`api/row?${new URLSearchParams({ id })}`);
    if (!Object.hasOwn(report.details, id)) throw new Error("This row is not in the report, which holds a sample: `factory view` shows every row.");
    return report.details[id];
  };
  view.sample = report ? report.sample : null;
})();
