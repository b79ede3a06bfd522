"use strict";
// A model's text as paragraphs with rendered mathematics. Every search is bounded, so a hostile text costs linear time.
(() => {
  const LONGEST_FORMULA = 2000; // characters; longer ones stay text: KaTeX is not linear
  const LONGEST_BLOCK = 4000;
  const ENVIRONMENTS = /^(equation|align|aligned|alignat|gather|gathered|cases|array|CD|split|[pbBvV]?matrix)\*?$/;

  function closing(text, from, end, stop) {
    const found = text.indexOf(end, from);
    return found < 0 || found - from > LONGEST_FORMULA ? -1 : stop && text.slice(from, found).includes(stop) ? -1 : found;
  }

  // {start, end, formula, display} of the formula that opens at `at`, or null where the characters there are only text.
  function formulaAt(text, at) {
    if (text.startsWith("\\(", at) || text.startsWith("\\[", at)) {
      const end = closing(text, at + 2, text[at + 1] === "(" ? "\\)" : "\\]");
      return end < 0 ? null : { end: end + 2, formula: text.slice(at + 2, end), display: text[at + 1] === "[" };
    }
    if (text.startsWith("\\begin{", at)) {
      const brace = text.indexOf("}", at + 7);
      const name = brace < 0 || brace - at > 24 ? "" : text.slice(at + 7, brace);
      if (!ENVIRONMENTS.test(name)) return null;
      const end = closing(text, brace, `\\end{${name}}`);
      return end < 0 ? null : { end: end + name.length + 6, formula: text.slice(at, end + name.length + 6), display: true };
    }
    if (text.startsWith("$$", at)) {
      const end = closing(text, at + 2, "$$");
      return end < 0 ? null : { end: end + 2, formula: text.slice(at + 2, end), display: true };
    }
    // As pandoc reads a single dollar: "$5 and $6" is money. The second dollar follows no space and precedes no digit.
    if (text[at] !== "$" || /\s/.test(text[at + 1] || " ") || text[at - 1] === "\\") return null;
    let end = at;
    do end = closing(text, end + 1, "$", "\n\n");
    while (end > 0 && text[end - 1] === "\\" && end - at < LONGEST_FORMULA);
    if (end < 0 || /\s/.test(text[end - 1]) || /\d/.test(text[end + 1] || "")) return null;
    return { end: end + 1, formula: text.slice(at + 1, end), display: false };
  }

  function rendered(formula, display) {
    const node = document.createElement(display ? "div" : "span");
    try {
      katex.render(formula, node, { displayMode: display, throwOnError: true, trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 });
      node.classList.add("formula");
    } catch (error) {
      node.textContent = formula;
      node.className = "unrendered";
      node.title = String(error.message).slice(0, 200);
    }
    return node;
  }

  // **bold**, `code` and # headings; everything else of Markdown reads well as it is.
  function plain(node, text) {
    const marks = /\*\*([^*\n]{1,300})\*\*|`([^`\n]{1,300})`|^#{1,6} ([^\n]{1,300})$/gm;
    let at = 0;
    for (const mark of text.matchAll(marks)) {
      node.append(text.slice(at, mark.index));
      node.append(view.make(mark[2] === undefined ? "strong" : "code", {}, mark[1] ?? mark[2] ?? mark[3]));
      at = mark.index + mark[0].length;
    }
    node.append(text.slice(at));
  }

  // Fill `node` with `text`, its formulas rendered.
  view.write = (node, text) => {
    node.replaceChildren();
    const openings = /\$|\\\(|\\\[|\\begin\{/g;
    let done = 0, found;
    while ((found = openings.exec(text))) {
      const formula = formulaAt(text, found.index);
      if (!formula) {
        if (text.startsWith("$$", found.index)) openings.lastIndex++;
        continue;
      }
      plain(node, view.seen(text.slice(done, found.index)));
      node.append(rendered(formula.formula, formula.display));
      done = openings.lastIndex = formula.end;
    }
    plain(node, view.seen(text.slice(done)));
    return node;
  };

  // Paragraphs and ``` fences; long ones are cut at a line, so that each is laid out and rendered only when it is near.
  function blocks(text) {
    const found = [];
    text.split(/^```/m).forEach((part, i) => {
      if (i % 2) found.push({ code: true, text: part.replace(/^\n|\n$/g, "") });
      else for (const paragraph of part.split(/\n{2,}/)) cut(paragraph).forEach((t) => t.trim() && found.push({ code: false, text: t }));
    });
    return found;
  }

  function cut(paragraph) {
    const parts = [];
    let from = 0;
    while (paragraph.length - from > LONGEST_BLOCK) {
      const line = paragraph.lastIndexOf("\n", from + LONGEST_BLOCK);
      const to = line > from ? line : from + LONGEST_BLOCK;
      parts.push(paragraph.slice(from, to));
      from = to;
    }
    return [...parts, paragraph.slice(from)];
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      view.write(entry.target, entry.target.textContent);
    }
  }, { rootMargin: "600px" });

  // A long text into `node`: every paragraph at once as text, its mathematics when it comes near the window.
  view.prose = (node, text) => {
    for (const block of blocks(text)) {
      const made = view.make(block.code ? "pre" : "p", {}, block.code ? view.seen(block.text) : block.text);
      node.append(made);
      if (!block.code) near.observe(made);
    }
    return node;
  };
})();
