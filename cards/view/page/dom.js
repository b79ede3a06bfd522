"use strict";
// The only way elements are made: text goes in as text, so that what a model wrote is never read as markup.
const view = {};

view.make = (tag, attributes, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "width") node.style.width = value; // through the object model: the policy forbids style in markup
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return node;
};

view.number = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en", { maximumFractionDigits: 0 }));
view.percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)}%` : "–");

// Bidirectional, zero-width and control characters change what is read without being seen: they are shown by their number.
view.seen = (text) =>
  text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (c) => {
    return `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });

view.link = (query) => `#rows?${new URLSearchParams(query)}`;

view.table = (head, rows, numeric = []) => {
  const { make } = view;
  const side = (i) => (numeric.includes(i) ? { class: "n" } : {});
  return make(
    "div", { class: "scroll" },
    make(
      "table", {},
      make("thead", {}, make("tr", {}, ...head.map((h, i) => make("th", side(i), h)))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, i) => make("td", side(i), cell ?? "–"))))),
    ),
  );
};
