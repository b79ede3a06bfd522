"use strict";
// The run's figures: funnel, distributions, teachers, contaminated questions, dropped rows.
(() => {
  const { make, number, percent, panel, bars, link } = view;
  const compact = (n) => (n >= 1e6 ? `${n / 1e6}M` : n >= 1e3 ? `${n / 1e3}k` : `${n}`);

  function summary(run) {
    const facts = [
      ["examples", number(run.examples)],
      ["traces", number(run.traces)],
      ["problems with a trace", number(run.problems)],
      ["completion tokens", run.tokens?.completion ? number(run.tokens.completion) : null],
      ["cost", cost(run.cost)],
    ].filter(([, value]) => value);
    return make(
      "section", { id: "summary" },
      make("p", { class: "lead" }, run.description),
      make("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [make("div", {}, make("dd", {}, value), make("dt", {}, name))])),
      make("pre", { class: "command" }, run.command),
      make("p", { class: "note" }, `${run.folder} · built ${run.created} by cot-factory ${run.factory} · verifier ${run.verifier.join(", ")}`),
      view.sample ? make("p", { class: "note" }, view.sample) : null,
    );
  }

  function cost(value) {
    if (value === null || value === undefined) return null;
    if (typeof value !== "object") return String(value);
    return Object.entries(value).filter(([, v]) => ["number", "string"].includes(typeof v)).map(([k, v]) => `${k} ${v}`).join(", ");
  }

  function funnel(lines) {
    const most = {};
    for (const line of lines) most[line.unit] = Math.max(most[line.unit] || 1, line.in);
    const rows = lines.map((line) => {
      const reasons = Object.entries(line.dropped).sort((a, b) => b[1] - a[1]);
      const chips = reasons.map(([why, n]) => make("a", { class: "chip", href: link({ fate: `${line.step}: ${why}` }) }, `${why} ${number(n)}`));
      const track = make(
        "span", { class: "track" },
        make("span", { class: "part kept", width: `${(100 * line.kept) / most[line.unit]}%` }),
        make("span", { class: "part lost", width: `${(100 * (line.in - line.kept)) / most[line.unit]}%` }),
      );
      return [line.step, line.unit, number(line.in), number(line.kept), number(line.in - line.kept), make("div", {}, track, make("div", { class: "chips" }, ...chips))];
    });
    return panel("Funnel", "Each step's rows in, kept and dropped; a reason leads to its rows.", make("div", { class: "funnel" }, view.table(["step", "of", "in", "kept", "dropped", ""], rows, [2, 3, 4])));
  }

  function lengths(data) {
    const bins = data.bins.map((bin, i) => {
      const next = data.bins[i + 1];
      const query = { kind: "trace", min_length: bin.from, ...(next ? { max_length: next.from - 1 } : {}) };
      return { name: next ? `${compact(bin.from)}–${compact(next.from)}` : `${compact(bin.from)} and more`, n: bin.n, parts: bin, query };
    });
    const note = `${data.unit} of each trace: median ${number(data.median)}, 90th percentile ${number(data.p90)}, longest ${number(data.longest)}`;
    return panel("Length", note, bars(bins));
  }

  const breakdown = (title, name, rows, note) =>
    rows.length && !(rows.length === 1 && !rows[0].name)
      ? panel(title, note, bars(rows.map((r) => ({ name: r.name || "(none)", n: r.n, parts: r, query: r.others || !r.name ? null : { kind: "trace", [name]: r.name } }))))
      : null;

  function teachers(rows, pairs) {
    const counts = ["traces", "faulty", "correct", "incorrect", "undetermined"];
    const table = view.table(
      ["teacher", ...counts, "correct of judged"],
      rows.map((t) => [make("a", { href: link({ kind: "trace", teacher: t.teacher }) }, t.teacher), ...counts.map((c) => number(t[c])), percent(t.correct, t.traces - t.faulty)]),
      [1, 2, 3, 4, 5, 6],
    );
    const against = pairs.map((p) => [p.a, p.b, number(p.problems), number(p.both), number(p.only_a), number(p.only_b), number(p.neither)]);
    const versus = pairs.length
      ? [make("h3", {}, "One against another"), make("p", { class: "note" }, "Problems that both answered; solved: at least one correct trace."),
         view.table(["A", "B", "problems", "both solved", "only A", "only B", "neither"], against, [2, 3, 4, 5, 6])]
      : [];
    return panel("Teachers", null, table, ...versus);
  }

  function contamination(data) {
    const rows = data.shown.map((pair) => [view.write(make("div", { class: "clip" }), pair.prompt), `${pair.benchmark} ${pair.benchmark_index}`,
      view.write(make("div", { class: "clip" }), pair.question), pair.method, pair.rule, pair.threshold.toFixed(2), pair.score.toFixed(2)]);
    const note = data.pairs ? `${number(data.pairs)} pairs of a problem and a benchmark question${rows.length < data.pairs ? `, the closest ${rows.length} of them` : ""}; all in contamination.parquet.` : "No problem matched a benchmark question, or none was compared with.";
    return panel("Decontamination", note, rows.length ? view.table(["problem", "benchmark", "its question", "method", "rule", "threshold", "score"], rows, [5, 6]) : null);
  }

  function dropped(fates) {
    const lost = fates.filter(([fate]) => fate !== "in the set");
    return panel("Dropped rows by reason", "Traces and problems that are not in the set; all of them are in rejected/.", bars(lost.map(([fate, n]) => ({ name: fate, n, query: { fate } }))));
  }

  const cell = (value) => (value === null ? "–" : typeof value === "object" ? JSON.stringify(value).slice(0, 200) : typeof value === "number" ? String(+value.toFixed(4)) : view.seen(String(value)).slice(0, 200));
  const extra = (t) => panel(t.title, `${number(t.count)} rows in ${t.file}${t.rows.length < t.count ? `, the first ${t.rows.length}` : ""}`, view.table(t.columns, t.rows.map((r) => r.map(cell))));

  view.showOverview = (data) => {
    const of = data.breakdowns;
    const rates = data.pass_rates.map((r) => ({ ...r, query: { kind: "trace", min_rate: r.min, max_rate: r.max } }));
    document.getElementById("overview").replaceChildren(
      summary(data.run), funnel(data.funnel), view.legend(),
      make("div", { class: "grid" }, ...[
        lengths(data.lengths), panel("Pass rate", "Problems by the share of their traces that is correct.", bars(rates)),
        breakdown("Source", "source", of.source), breakdown("Domain", "domain", of.domain), breakdown("Teacher", "teacher", of.teacher),
        breakdown("Ended by", "finish", of.finish, "stop: the model ended; length: it was cut; error: no answer came."),
      ].filter(Boolean)),
      teachers(data.teachers, data.against), dropped(data.facets.fate), contamination(data.contamination), ...data.tables.map(extra),
    );
  };
})();
