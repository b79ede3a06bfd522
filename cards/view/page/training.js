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

  function progress(stage) {
    const done = stage.step && stage.steps ? `step ${number(stage.step)} of ${number(stage.steps)}` : stage.step ? `step ${number(stage.step)}` : "";
    const bar = stage.state !== "finished" && stage.steps ? make("span", { class: "progress" }, make("span", { width: `${(100 * (stage.step || 0)) / stage.steps}%` })) : null;
    return [make("p", { class: "note" }, [stage.state, done, stage.said].filter(Boolean).join(" · ")), bar];
  }

  const curves = (stage) => [stage.curves.length ? make("div", { class: "plots" }, ...stage.curves.map((c) => view.plot(c, called(c.name), stage.marks))) : null];

  // Of each evaluation the scores that are shares, with their interval over questions.
  function scores(stage) {
    if (!stage.scores.length) return [];
    const rows = stage.scores.flatMap((result) =>
      Object.entries(result.scores).filter(([, s]) => s && typeof s === "object" && "value" in s).map(([name, s], i) =>
        [i ? "" : view.seen(result.suite.name), i ? "" : number(result.suite.questions), i ? "" : view.seen(result.created), name, `${(100 * s.value).toFixed(1)}%`, interval(s.questions_interval)]));
    return [make("h3", {}, "Scores"), view.table(["suite", "questions", "when", "score", "value", "95 percent, over questions"], rows, [1, 4])];
  }

  function samples(stage) {
    if (!stage.samples?.length) return [];
    const steps = [...new Set(stage.samples.map((s) => s.step))];
    const list = make("div", {});
    const choice = make("select", { "aria-label": "samples at step", on: { change: () => fill(+choice.value) } }, ...steps.map((s) => make("option", { value: s }, `step ${number(s)}`)));
    const fill = (step) => list.replaceChildren(...stage.samples.filter((s) => s.step === step).map(sample));
    choice.value = steps.at(-1);
    fill(steps.at(-1));
    return [make("h3", {}, "Samples at each evaluation"), make("p", {}, choice), list];
  }

  function sample(one) {
    const { step, prompt, answer, thinking, completion, outcome, ...more } = one;
    const body = make("div", { class: "prose" });
    const fold = thinking ? make("details", { class: "thought" }, make("summary", {}, `Thinking · ${number(thinking.length)} characters`), body) : null;
    fold?.addEventListener("toggle", () => { if (fold.open && !body.firstChild) view.prose(body, thinking); });
    return make("article", { class: `said ${["correct", "incorrect", "undetermined"].includes(outcome) ? outcome : ""}` },
      prompt ? view.prose(make("div", { class: "prose question" }), prompt) : null, fold,
      completion ? view.prose(make("div", { class: "prose" }), completion) : null,
      pairs(Object.entries({ outcome, gold: answer, ...more })));
  }

  function record(stage) {
    const entries = Object.entries(stage.record || {});
    const top = entries.filter(([, v]) => v === null || typeof v !== "object");
    const groups = entries.filter(([, v]) => v !== null && typeof v === "object");
    if (!entries.length) return [];
    return [make("details", { class: "record" }, make("summary", {}, "What it was made of"), pairs(top),
      ...groups.map(([name, group]) => make("details", { class: "record" }, make("summary", {}, view.seen(name)), pairs(Object.entries(group)))))];
  }

  const PARTS = { progress, curves, scores, samples, record };
  const sources = {
    progress: (s) => [s.state, s.step, s.steps, s.said], curves: (s) => s.curves, scores: (s) => s.scores, samples: (s) => s.samples, record: (s) => s.record,
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
    document.getElementById("state").textContent = data.finished ? "finished" : "looked at every 2 s";
    if (data.stages.length > 1) document.getElementById("stages").replaceChildren(...data.stages.map((s, i) => make("a", { href: `#stage-${i}` }, view.seen(s.name))));
    const main = document.getElementById("training");
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
