"use strict";
// One row: question, gold beside the answer found, the trace with its thinking folded, the verdict, the ledger.
(() => {
  const { make, number } = view;
  const COLD = /^(seconds|prompt_tokens|completion_tokens|index|revision|endpoint|sampling|error|finish)$/;

  const section = (title, ...children) => make("section", {}, make("h3", {}, title), ...children);
  const facts = (pairs) => {
    const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== "{}");
    return shown.length ? make("dl", { class: "pairs" }, ...shown.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, view.seen(typeof value === "object" ? JSON.stringify(value) : String(value)))])) : null;
  };
  const answer = (title, text, kind) => make("div", { class: `answer ${kind || ""}` }, make("h3", {}, title), text === null || text === undefined ? make("p", { class: "note" }, "none") : view.write(make("p"), formula(text)));
  // A bare answer such as \frac{3}{4} is mathematics without its dollars.
  const formula = (text) => (/[\\^_]/.test(text) && !/\$|\\\(|\\\[/.test(text) && text.length < 300 ? `$${text.trim()}$` : text);

  function head(data) {
    const row = data.row;
    const verdict = make("span", { class: `tag ${row.verdict}` }, view.verdictNames[row.verdict] || row.verdict);
    const back = { ...view.finder.query };
    return make(
      "header", {},
      make("nav", {},
        make("a", { class: "back", href: view.link(back) }, "‹ list"),
        make("button", { type: "button", title: "previous row (k)", on: { click: () => view.step(-1) } }, "‹ previous"),
        make("button", { type: "button", title: "next row (j)", on: { click: () => view.step(1) } }, "next ›"),
        make("a", { class: "id", href: view.link({ row: row.id }), title: "link to this row" }, row.id)),
      make("p", {}, row.kind === "trace" ? verdict : make("span", { class: "tag none" }, "dropped problem"), " ",
        make("span", { class: `tag ${row.fate === "in the set" ? "correct" : "none"}` }, row.fate), " ",
        [row.teacher, row.source, row.domain, row.length === null ? null : `${number(row.length)} ${view.lengthUnit}`, row.pass_rate === null ? null : `pass rate ${Math.round(100 * row.pass_rate)}%`].filter(Boolean).join(" · ")),
    );
  }

  function thinking(trace) {
    const words = trace.reasoning.split(/\s+/).length;
    const body = make("div", { class: "prose" });
    const fold = make("details", { id: "thinking" }, make("summary", {}, `Thinking · ${number(words)} words, ${number(trace.reasoning.length)} characters`,
      make("span", { class: "first" }, view.seen(trace.reasoning.slice(0, 240)).replace(/\s+/g, " "), trace.reasoning.length > 240 ? " …" : "")), body);
    fold.addEventListener("toggle", () => {
      if (fold.open && !body.firstChild) view.prose(body, trace.reasoning);
      view.folded = !fold.open;
    });
    fold.open = view.folded === false;
    return fold;
  }

  function ledger(data) {
    const { problem, trace } = data;
    const from = problem ? `${problem.source || "no name"} ${problem.source_id || ""} · licence ${problem.license}` : "a trace that answers no problem of this run";
    const entries = [["source", "passed", from]];
    const sampled = trace ? [["trace", "passed", `${[trace.teacher, trace.revision, trace.endpoint].filter(Boolean).join(" ")}, sample ${trace.index}`]] : [];
    const steps = data.ledger.map((e) => [e.step, e.outcome, [e.reason, e.detail].filter(Boolean).join(": ")]);
    const list = [...entries, ...sampled, ...steps].map(([step, outcome, why]) => make("li", { class: outcome.replace(" ", "-") }, make("b", {}, step), ` ${outcome === "passed" && why ? "" : outcome} `, make("span", {}, view.seen(why).slice(0, 600))));
    return section("Ledger", make("ol", { class: "ledger" }, ...list));
  }

  const siblings = (data) =>
    data.siblings.length > 1
      ? section("Traces of this problem", make("ul", { class: "siblings" }, ...data.siblings.map((s) => make("li", { "aria-current": s.id === data.row.id }, make("a", { href: view.rowLink(s.id) }, make("span", { class: `dot ${s.verdict}` }), `${s.teacher} · ${view.verdictNames[s.verdict] || s.verdict} · ${s.fate} · ${number(s.length)}`)))))
      : null;

  function record(data) {
    const { problem, trace, verdict, example } = data;
    const entries = (value, skip) => Object.entries(value || {}).filter(([name]) => !skip.test(name));
    return [
      verdict ? section("Verdict", facts(entries(verdict, /^(trace_id|problem_id|teacher|extracted)$/))) : null,
      example ? section("Selection", facts(entries(example, /^$/))) : null,
      trace ? section("Request", facts(Object.entries(trace).filter(([name]) => COLD.test(name)))) : null,
      problem ? section("Problem", facts([["id", problem.id], ["meta", problem.meta]]), problem.solution ? make("details", {}, make("summary", {}, "The source's own solution"), view.prose(make("div", { class: "prose" }), problem.solution)) : null) : null,
    ];
  }

  view.show = (data) => {
    const { problem, trace, verdict } = data;
    const question = problem ? problem.prompt : data.row.detail || "(the question is not in this run)";
    const pair = make("div", { class: "answers" }, answer("Gold", problem?.answer), trace ? answer("Answer found", verdict?.extracted, data.row.verdict) : null);
    document.getElementById("reader").replaceChildren(...[
      head(data), section("Question", view.prose(make("div", { class: "prose question" }), question)), pair,
      trace && trace.reasoning !== null ? thinking(trace) : null,
      trace ? section("Answer", trace.answer_text ? view.prose(make("div", { class: "prose" }), trace.answer_text) : make("p", { class: "note" }, trace.error ? view.seen(trace.error).slice(0, 600) : "nothing follows the thinking")) : null,
      ledger(data), siblings(data), ...record(data),
    ].filter(Boolean));
    document.getElementById("reader").scrollTop = 0;
  };

  view.complain = (message) => document.getElementById("reader").replaceChildren(make("p", { class: "note" }, message));
})();
