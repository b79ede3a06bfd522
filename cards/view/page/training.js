"use strict";
// A training, or a pipeline's stages one after another: state, curves, scores, samples, the record. While it goes on, the
// server is asked again and again, and only what has changed is drawn again: what a person has opened stays open.
(() => {
  const { make, number, percent } = view;
  const EVERY_MS = 2000;
  const held = document.getElementById("held");
  const NAMES = {
    loss: "loss", eval_loss: "loss on held-out rows", learning_rate: "learning rate", grad_norm: "norm of the gradient",
    mean_token_accuracy: "tokens predicted right", tokens_per_second: "tokens a second", mfu: "share of the device's peak (MFU)",
    reward_std: "spread of rewards", kl: "KL from the reference, nats a token", entropy: "entropy, nats a token", clipped_ratio: "tokens outside epsilon",
    silent_groups: "groups without a signal", truncated: "answers cut", mean_tokens: "tokens an answer", max_tokens: "tokens of the longest answer",
    mismatch: "sampler against student, nats a token", step_seconds: "seconds a step",
  };
  const called = (name) => NAMES[name] || name.replaceAll("_", " ").replaceAll("/", ", ");
  const interval = (ends) => (ends ? `${(100 * ends[0]).toFixed(1)}% to ${(100 * ends[1]).toFixed(1)}%` : "–");
  const said = (value) => view.seen(typeof value === "string" ? value : JSON.stringify(value));

  const pairs = (entries) =>
    make("dl", { class: "pairs" }, ...entries.filter(([, v]) => v !== null && v !== undefined).flatMap(([k, v]) => [make("dt", {}, view.seen(k)), make("dd", {}, said(v).slice(0, 2000))]));

  // What a stage of a pipeline came to, in a line; scores are in their own table.
  const fact = (value) => (typeof value === "number" ? view.figure(value) : said(value));
  const facts = (stage) =>
    Object.entries(stage.facts || {}).filter(([name]) => name !== "suites").map(([name, value]) => `${called(name)} ${fact(value)}`).join(", ") ||
    Object.entries(stage.facts?.suites || {}).filter(([, s]) => "pass@1" in s).map(([name, s]) => `${name} pass@1 ${(100 * s["pass@1"]).toFixed(1)}%`).join(", ");

  const summary = (data) => view.table(["stage", "does", "state", "time", "came to"], data.stages.map((s, i) =>
    [make("a", { href: `#stage-${i}` }, view.seen(s.name)), s.does, make("span", { class: `tag ${s.state === "failed" ? "incorrect" : s.state === "done" ? "correct" : s.state === "running" ? "undetermined" : ""}` }, s.state), s.said, facts(s)]));

  function progress(stage) {
    const done = stage.step && stage.steps ? `step ${number(stage.step)} of ${number(stage.steps)}` : stage.step ? `step ${number(stage.step)}` : "";
    const bar = !["finished", "done"].includes(stage.state) && stage.steps ? make("span", { class: "progress" }, make("span", { width: `${(100 * (stage.step || 0)) / stage.steps}%` })) : null;
    const error = stage.error ? make("p", { class: "said incorrect" }, view.seen(stage.error)) : null;
    return [make("p", { class: "note" }, [stage.does, stage.state, done, stage.said, facts(stage)].filter(Boolean).join(" · ")), error, bar];
  }

  const curves = (stage) => [stage.curves.length ? make("div", { class: "plots" }, ...stage.curves.map((c) => view.plot(c, called(c.name), stage.marks))) : null];

  // Of each result the scores that are shares, with their interval over questions.
  function scores(stage) {
    if (!stage.results.length) return [];
    const rows = stage.results.flatMap((result) =>
      Object.entries(result.scores).filter(([, s]) => s && typeof s === "object" && "value" in s).map(([name, s], i) =>
        [i ? "" : view.seen(result.suite.name), i ? "" : number(result.suite.questions), i ? "" : view.seen(result.created), name, `${(100 * s.value).toFixed(1)}%`, interval(s.questions_interval)]));
    const against = Object.entries(stage.facts?.suites || {}).filter(([, s]) => s.against).map(([name, s]) =>
      make("p", { class: "note" }, `${name} against ${s.against.stage}: ${s.against.difference >= 0 ? "+" : ""}${(100 * s.against.difference).toFixed(1)} points (${interval(s.against.interval)}), p = ${view.figure(s.against.p_value)}`));
    return [make("h3", {}, "Scores"), view.table(["suite", "questions", "when", "score", "value", "95 percent, over questions"], rows, [1, 4]), ...against];
  }

  function samples(stage) {
    const sampled = stage.results.filter((r) => r.samples.length);
    if (!sampled.length) return [];
    const list = make("div", {});
    const choice = make("select", { "aria-label": "samples of", on: { change: () => fill(+choice.value) } }, ...sampled.map((r, i) => make("option", { value: i }, `${r.suite.name}, ${r.created}`)));
    const fill = (i) => list.replaceChildren(...sampled[i].samples.map(sample));
    choice.value = sampled.length - 1;
    fill(sampled.length - 1);
    return [make("h3", {}, "Samples: the first questions, the same at each evaluation"), make("p", {}, choice), list];
  }

  function sample(one) {
    const { prompt, answer, reasoning: thinking, answer_text: completion, outcome, ...more } = one;
    const body = make("div", { class: "prose" });
    const fold = thinking ? make("details", { class: "thought" }, make("summary", {}, `Thinking · ${number(thinking.length)} characters`), body) : null;
    fold?.addEventListener("toggle", () => { if (fold.open && !body.firstChild) view.prose(body, thinking); });
    return make("article", { class: `said ${["correct", "incorrect", "undetermined"].includes(outcome) ? outcome : ""}` },
      prompt ? view.prose(make("div", { class: "prose question" }), prompt) : null, fold,
      completion ? view.prose(make("div", { class: "prose" }), completion) : null,
      pairs(Object.entries({ outcome, gold: answer, ...more })));
  }

  function record(stage) {
    const entries = Object.entries({ ...(stage.settings ? { "settings of the stage": stage.settings } : {}), ...stage.record });
    const top = entries.filter(([, v]) => v === null || typeof v !== "object");
    const groups = entries.filter(([, v]) => v !== null && typeof v === "object");
    if (!entries.length) return [];
    return [make("details", { class: "record" }, make("summary", {}, "What it was made of"), pairs(top),
      ...groups.map(([name, group]) => make("details", { class: "record" }, make("summary", {}, view.seen(name)), pairs(Object.entries(group)))))];
  }

  const PARTS = { progress, curves, scores, samples, record };
  const sources = {
    progress: (s) => [s.state, s.step, s.steps, s.said, s.error, s.facts], curves: (s) => s.curves, scores: (s) => [s.results, s.facts], samples: (s) => s.results,
    record: (s) => [s.record, s.settings],
  };
  const drawn = new Map(); // "stage part" -> {source, node}

  function section(stage, number, alone) {
    const id = `stage-${number}`;
    const parts = Object.keys(PARTS).map((name) => {
      const key = `${number} ${name}`, source = JSON.stringify(sources[name](stage) ?? null);
      if (drawn.get(key)?.source !== source) drawn.set(key, { source, node: make("div", { class: `part-${name}` }, ...PARTS[name](stage).filter(Boolean)) });
      return drawn.get(key).node;
    });
    const there = document.getElementById(id);
    if (there) {
      parts.forEach((part, i) => there.children[i + 1] === part || there.children[i + 1].replaceWith(part));
      return there;
    }
    return make("section", { class: "stage", id }, make("h2", { hidden: alone }, view.seen(stage.name)), ...parts);
  }

  function show(data) {
    document.title = `${data.name} · factory`;
    document.getElementById("name").textContent = view.seen(data.name);
    document.getElementById("state").textContent = data.finished ? "finished" : held ? data.state || "not finished" : `${data.state ? `${data.state}, ` : ""}looked at every 2 s`;
    if (data.stages.length > 1) document.getElementById("stages").replaceChildren(...data.stages.map((s, i) => make("a", { href: `#stage-${i}` }, view.seen(s.name))));
    const main = document.getElementById("training");
    if (data.description && !main.firstChild) main.append(make("p", { class: "lead" }, view.seen(data.description)), make("pre", { class: "command" }, view.seen(data.command)), make("div", { id: "summary" }));
    document.getElementById("summary")?.replaceChildren(summary(data));
    data.stages.forEach((stage, i) => {
      const node = section(stage, i, data.stages.length === 1);
      if (node.parentNode !== main) main.append(node);
    });
  }

  async function poll(seen) {
    let version = seen, finished = false;
    try {
      const answer = await fetch(`api/training?${new URLSearchParams({ seen })}`);
      if (!answer.ok) throw new Error((await answer.text()).slice(0, 300));
      const found = await answer.json();
      version = found.version;
      if (found.data) show(found.data);
      finished = found.finished;
    } catch (error) {
      document.getElementById("state").textContent = `no answer: ${error.message}`;
    }
    if (!finished) setTimeout(() => poll(version), EVERY_MS);
  }

  if (held) show(JSON.parse(held.textContent));
  else poll("");
})();
