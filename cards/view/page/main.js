"use strict";
// The address decides what is shown: # the overview, #rows?source=...&row=ID the rows that match, with one of them open.
(() => {
  const element = (id) => document.getElementById(id);
  const KEYS = "j next, k previous, f fold the thinking, / search, Esc back to the list";

  async function route() {
    const [place, asked] = location.hash.replace(/^#/, "").split(/\?(.*)/s);
    const query = Object.fromEntries(new URLSearchParams(asked || ""));
    const inRows = place === "rows";
    element("overview").hidden = inRows;
    element("rows").hidden = !inRows;
    element("to-overview").toggleAttribute("aria-current", !inRows);
    element("to-rows").toggleAttribute("aria-current", inRows);
    if (!inRows) return;
    const { row, ...filters } = query;
    view.openId = row;
    element("rows").classList.toggle("reading", Boolean(row));
    try {
      const same = JSON.stringify(filters) === JSON.stringify(view.finder.query);
      const listed = !same || view.finder.total === undefined || !view.finder.asked ? view.find(filters) : view.markOpen();
      if (row) {
        const data = await view.row(row);
        if (view.openId === row) view.show(data);
      } else view.complain(KEYS);
      await listed;
    } catch (error) {
      view.complain(String(error.message));
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || element("rows").hidden) return;
    const typing = event.target.matches?.("input, select, textarea");
    if (typing && event.key === "Escape") return event.target.blur();
    if (typing) return;
    const fold = element("thinking");
    const actions = {
      j: () => view.step(1), ArrowRight: () => view.step(1), k: () => view.step(-1), ArrowLeft: () => view.step(-1),
      f: () => fold && (fold.open = !fold.open), "/": () => element("filters").elements.q.focus(),
      Escape: () => view.openId && (location.hash = view.link(view.finder.query)),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });

  view.overview().then((data) => {
    document.title = `${data.run.name} · factory`;
    element("name").textContent = data.run.name;
    view.lengthUnit = data.run.length_unit;
    view.showOverview(data);
    view.buildFilters(data);
    addEventListener("hashchange", route);
    return route();
  }).catch((error) => element("overview").replaceChildren(view.make("p", { class: "note" }, String(error.message))));
})();
