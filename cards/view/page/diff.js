"use strict";
// Two runs compared: what was set otherwise, what each step kept, and every problem that entered, left or changed.
(() => {
  const { make, number } = view;
  const PAGE = 100;
  const data = JSON.parse(document.getElementById("held").textContent);
  const [before, after] = data.names.map(view.seen);
  const form = document.getElementById("asked");
  const state = { rows: data.moved, page: 0 };

  const value = (v) => make("span", { class: "value" }, v === null ? "–" : view.seen(typeof v === "string" ? v : JSON.stringify(v)).slice(0, 1000));
  const panel = (title, note, ...children) => make("section", { class: "panel" }, make("h2", {}, title), note ? make("p", { class: "note" }, note) : null, ...children);
  const changes = (title, rows, none) =>
    panel(title, rows.length ? null : none, rows.length ? view.table(["", before, after], rows.map((c) => [view.seen(c.name), value(c.before), value(c.after)])) : null);

  function funnel() {
    const rows = data.funnel.map((c) => {
      const by = c.before === null || c.after === null ? null : c.after - c.before;
      const change = by === null ? "–" : make("span", { class: by > 0 ? "gained" : by < 0 ? "lost" : "" }, `${by > 0 ? "+" : ""}${number(by)}`);
      return [view.seen(c.name), number(c.before), number(c.after), change];
    });
    return panel("Funnel", "Rows that each step kept.", view.table(["step", "before", "after", "change"], rows, [1, 2, 3]));
  }

  function summary() {
    const facts = [["examples before", data.examples.before], ["after", data.examples.after], ["problems left", data.counts.left], ["entered", data.counts.entered], ["changed", data.counts.changed], ["the same", data.same]];
    return make("dl", { class: "facts" }, ...facts.map(([name, n]) => make("div", {}, make("dd", {}, number(n)), make("dt", {}, name))));
  }

  const why = (row) => `${row.step}: ${row.reason}`;
  const found = (query) => {
    const words = query.q.toLowerCase();
    return data.moved.filter((row) =>
      (!query.what || row.what === query.what) && (!query.why || why(row) === query.why) &&
      (!words || row.question.toLowerCase().includes(words) || row.source.toLowerCase().includes(words) ||
        [row.problem_id, ...row.traces_before, ...row.traces_after].some((id) => id.startsWith(words))));
  };

  function traces(row) {
    const lost = row.traces_before.filter((id) => !row.traces_after.includes(id)), came = row.traces_after.filter((id) => !row.traces_before.includes(id));
    return make("div", {}, make("span", {}, `${row.what === "entered" ? "before: " : row.what === "left" ? "there: " : ""}${why(row)}`),
      make("small", {}, row.causes.length ? `decided by ${row.causes.join(", ")}` : "no setting of that step: an earlier step, the input or a version"),
      lost.length ? make("small", { class: "lost" }, `− trace ${lost.join(" ")}`) : null, came.length ? make("small", { class: "gained" }, `+ trace ${came.join(" ")}`) : null);
  }

  const row = (m) => [make("span", { class: `tag ${m.what}` }, m.what), make("div", {}, view.write(make("div", { class: "clip" }), m.question), make("small", { class: "note" }, `${m.problem_id} · ${view.seen(m.source)}`)), traces(m)];

  function show() {
    const start = state.page * PAGE, shown = state.rows.slice(start, start + PAGE);
    const moved = data.counts.left + data.counts.entered + data.counts.changed;
    const part = data.moved.length < moved ? ` This page holds ${number(data.moved.length)} of ${number(moved)}.` : "";
    document.getElementById("found").textContent = (state.rows.length ? `${number(start + 1)}–${number(start + shown.length)} of ${number(state.rows.length)}.` : "Nothing matches.") + part;
    document.getElementById("moved").replaceChildren(...(shown.length ? [view.table(["", "problem", "why"], shown.map(row))] : []));
    const turn = (label, by) => make("button", { type: "button", on: { click: () => { state.page += by; show(); } } }, label);
    document.getElementById("pager").replaceChildren(...[state.page && turn("‹ previous", -1), start + PAGE < state.rows.length && turn("next ›", 1)].filter(Boolean));
  }

  function changed() {
    state.rows = found(Object.fromEntries(new FormData(form)));
    state.page = 0;
    show();
  }

  const choice = (name, all, values) => make("select", { name, "aria-label": name }, make("option", { value: "" }, all), ...values.map(([v, n]) => make("option", { value: v }, `${v} (${number(n)})`)));
  const reasons = new Map();
  for (const m of data.moved) reasons.set(why(m), (reasons.get(why(m)) || 0) + 1);
  form.replaceChildren(
    make("input", { name: "q", type: "search", placeholder: "Search questions, sources, ids ( / )", "aria-label": "Search" }),
    choice("what", "left, entered, changed", Object.entries(data.counts).filter(([, n]) => n)), choice("why", "every reason", [...reasons].sort((a, b) => b[1] - a[1])),
  );
  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return document.activeElement.blur();
    if (event.target.matches?.("input, select") || !["/", "j", "k"].includes(event.key)) return;
    event.preventDefault();
    if (event.key === "/") return form.elements.q.focus();
    document.querySelectorAll("#pager button").forEach((b) => b.textContent.includes(event.key === "j" ? "next" : "previous") && b.click());
  });

  document.title = `${before} and ${after} · factory`;
  document.getElementById("name").textContent = `${before} → ${after}`;
  document.getElementById("what").replaceChildren(summary(), changes("Settings", data.settings, "The recipes are the same."), changes("Versions", data.versions, "Sources, benchmarks, verifier and libraries are the same."), funnel());
  show();
})();
