"use strict";
// The list of rows and its filters. What is asked for is in the address, so that it can be sent to somebody.
(() => {
  const { make, number } = view;
  const PAGE = 50;
  const NAMES = { kind: "rows", fate: "what became of it", finish: "ended by" };
  const state = { query: {}, rows: [], total: 0, page: 0, next: null, deep: false, asked: 0 };
  view.finder = state;

  function select(name, values) {
    const options = values.map(([value, n]) => make("option", { value }, `${view.verdictNames[value] || value} (${number(n)})`));
    return make("label", {}, NAMES[name] || name, make("select", { name }, make("option", { value: "" }, "all"), ...options));
  }

  const range = (name, title, attributes) =>
    make("fieldset", {}, make("legend", {}, title), make("input", { name: `min_${name}`, type: "number", placeholder: "from", "aria-label": `${title} from`, ...attributes }),
      make("input", { name: `max_${name}`, type: "number", placeholder: "to", "aria-label": `${title} to`, ...attributes }));

  view.buildFilters = (overview) => {
    const form = document.getElementById("filters");
    const many = ["kind", "fate", "verdict", "source", "domain", "teacher", "finish"].filter((name) => overview.facets[name].length > 1);
    form.replaceChildren(
      make("input", { name: "q", type: "search", placeholder: "Search questions, answers, ids ( / )", "aria-label": "Search" }),
      make("label", { class: "check" }, make("input", { name: "deep", type: "checkbox", value: "1" }), "in the traces' text"),
      make("details", { open: matchMedia("(min-width: 60rem)").matches }, make("summary", {}, "Filters"), make("div", { class: "fields" },
        ...many.map((name) => select(name, overview.facets[name])),
        range("length", overview.run.length_unit, { min: 0 }), range("rate", "pass rate", { min: 0, max: 1, step: "any" }),
        make("label", {}, "order", make("select", { name: "sort" }, ...["", "longest", "shortest", "hardest", "easiest"].map((v) => make("option", { value: v }, v || "as in the run")))),
        make("button", { type: "reset" }, "Clear"))),
    );
    let typing;
    form.addEventListener("input", (event) => {
      clearTimeout(typing);
      typing = setTimeout(changed, event.target.type === "search" || event.target.type === "number" ? 200 : 0);
    });
    form.addEventListener("reset", () => setTimeout(changed));
    form.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
  };

  function changed() {
    const asked = [...new FormData(document.getElementById("filters"))].filter(([, value]) => value !== "");
    location.hash = view.link(Object.fromEntries(asked));
  }

  const fillForm = (query) => {
    for (const field of document.getElementById("filters").elements) {
      if (!field.name) continue;
      if (field.type === "checkbox") field.checked = Boolean(query[field.name]);
      else if (document.activeElement !== field) field.value = query[field.name] || "";
    }
  };

  // Ask for a page of rows; an answer that a later question has overtaken is dropped. Texts are searched a part at a time,
  // and what was found stays in the list while the search goes on.
  view.find = async (query, page = 0) => {
    fillForm(query);
    const asked = ++state.asked;
    const deep = Boolean(query.deep && query.q);
    const goesOn = deep && page > 0;
    let start = goesOn ? state.next : page * PAGE;
    Object.assign(state, { query, page, deep, rows: goesOn ? state.rows : [], next: null });
    do {
      const answer = await view.list({ ...query, start });
      if (asked !== state.asked) return;
      Object.assign(state, { rows: deep ? state.rows.concat(answer.rows) : answer.rows, total: answer.total, next: answer.next });
      show();
      start = answer.next;
    } while (deep && start !== null && state.rows.length < PAGE * (page + 1));
  };

  const hasMore = () => (state.deep ? state.next !== null : (state.page + 1) * PAGE < state.total);

  function show() {
    const last = Math.min(state.total, (state.page + 1) * PAGE);
    const searched = state.next === null ? "" : `, ${number(state.next)} of ${number(state.total)} rows searched`;
    const range = state.total ? `${number(state.page * PAGE + 1)}–${number(last)} of ${number(state.total)}` : "Nothing matches.";
    document.getElementById("found").textContent = (state.deep ? `${number(state.rows.length)} found${searched}` : range) + (view.isReport ? " in this report" : "");
    document.getElementById("list").replaceChildren(...state.rows.map(item));
    const turn = (label, by) => make("button", { type: "button", on: { click: () => view.find(state.query, state.page + by) } }, label);
    const buttons = [!state.deep && state.page > 0 && turn("‹ previous", -1), hasMore() && turn(state.deep ? "search on" : "next ›", 1)];
    document.getElementById("pager").replaceChildren(...buttons.filter(Boolean));
    view.markOpen();
  }

  function item(row) {
    const about = row.kind === "trace" ? [row.teacher, row.length === null ? null : number(row.length), row.pass_rate === null ? null : `${Math.round(100 * row.pass_rate)}%`] : [row.source, row.fate];
    return make("li", { "data-id": row.id }, make("a", { href: view.rowLink(row.id) },
      make("span", { class: `dot ${row.verdict}`, title: view.verdictNames[row.verdict] || row.verdict }),
      make("span", { class: "head" }, view.seen(row.head || row.detail || "(no question)").replace(/\s+/g, " ")),
      make("small", {}, about.filter(Boolean).join(" · "))));
  }

  view.rowLink = (id) => view.link({ ...state.query, row: id });

  view.markOpen = () => {
    const id = view.openId;
    for (const node of document.getElementById("list").children) node.toggleAttribute("aria-current", node.dataset.id === id);
    document.querySelector("#list [aria-current]")?.scrollIntoView({ block: "nearest" });
  };

  // The row after (1) or before (-1) the open one; the next page where this one ends.
  view.step = async (by) => {
    const at = state.rows.findIndex((row) => row.id === view.openId);
    if (at >= 0 && !state.rows[at + by]) {
      if (by > 0 ? !hasMore() : state.deep || state.page === 0) return;
      const before = state.rows.length;
      await view.find(state.query, state.page + by);
      return open(state.rows[by < 0 ? state.rows.length - 1 : state.deep ? before : 0]);
    }
    open(state.rows[at < 0 ? 0 : at + by]);
  };
  const open = (row) => row && (location.hash = view.rowLink(row.id));
})();
