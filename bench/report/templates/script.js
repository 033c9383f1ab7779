/* What the page does beyond being read: tables that sort, filter and copy, charts that tell figures, colours, the data.
   Nothing here is needed to read it: every control is made here, so that without scripts none stands idle. */
"use strict";

const UNKNOWN = "–";
const FEWEST_ROWS = 6; /* Shorter tables are seen at a glance. */
const MOST_CHOICES = 40;
const OPEN_CHOICES = 3; /* More selects than these are folded. */

function make(tag, attributes, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...content);
  return element;
}

function csv(rows) {
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return rows.map((row) => row.map(quoted).join(",") + "\n").join("");
}

/* Tables */

function value(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === UNKNOWN ? "" : text;
}

function number(cell) {
  const text = value(cell).split(" ")[0];
  return text === "" ? NaN : Number(text);
}

const NEXT_ORDER = { null: "ascending", ascending: "descending", descending: null };
const words = new Intl.Collator("en", { numeric: true });

function order(place, numeric, sign) {
  return (a, b) => {
    const [first, last] = [a.cells[place], b.cells[place]];
    const [x, y] = numeric ? [number(first), number(last)] : [value(first), value(last)];
    const [no, nor] = numeric ? [Number.isNaN(x), Number.isNaN(y)] : [x === "", y === ""];
    if (no || nor) return no - nor; /* The unknown is last, whichever way. */
    return sign * (numeric ? x - y : words.compare(x, y));
  };
}

function addSorting(head, body) {
  const planned = [...body.rows];
  for (const [place, cell] of [...head.cells].entries()) {
    const button = make("button", { type: "button" }, ...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const next = NEXT_ORDER[cell.getAttribute("aria-sort")];
      for (const other of head.cells) other.removeAttribute("aria-sort");
      if (next) cell.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const numeric = cell.classList.contains("n");
      body.append(...(next ? [...planned].sort(order(place, numeric, sign)) : planned));
    });
  }
}

function choices(head, body) {
  const found = [];
  for (const [place, cell] of [...head.cells].entries()) {
    if (!("choice" in cell.dataset)) continue;
    const texts = [...new Set([...body.rows].map((row) => row.cells[place].textContent.trim()))];
    if (texts.length < 2 || texts.length > MOST_CHOICES) continue;
    const select = make("select", {}, make("option", { value: "" }, "all"));
    select.append(...texts.sort(words.compare).map((text) => make("option", { value: `=${text}` }, text || "(none)")));
    found.push({ place, select, label: make("label", {}, `${cell.textContent} `, select) });
  }
  return found;
}

function addFilters(tools, name, head, body) {
  const rows = [...body.rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const search = make("input", { type: "search", placeholder: "Filter rows", "aria-label": `Filter rows of ${name}` });
  const picked = choices(head, body);
  const count = make("span", { role: "status", class: "count" });
  const filter = () => {
    const wanted = search.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const chosen = ({ place, select }) => !select.value || select.value === `=${row.cells[place].textContent.trim()}`;
      row.hidden = !(wanted.every((word) => texts.get(row).includes(word)) && picked.every(chosen));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    tools.classList.toggle("filtered", shown < rows.length);
    count.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
  };
  body.addEventListener("reveal", () => {
    search.value = "";
    for (const { select } of picked) select.value = "";
    filter();
  });
  search.addEventListener("input", filter);
  for (const { select } of picked) select.addEventListener("change", filter);
  const labels = picked.map(({ label }) => label);
  const folded = make("details", {}, make("summary", {}, "By column"), make("div", { class: "choices" }, ...labels));
  tools.append(search, ...(labels.length > OPEN_CHOICES ? [folded] : labels), count);
  filter();
}

function tableRows(head, body) {
  const ends = [...head.cells].map((cell) => "ends" in cell.dataset);
  const unit = (cell) => (cell.dataset.unit ? ` (${cell.dataset.unit})` : "");
  const titles = [...head.cells].flatMap((cell, i) => {
    const title = cell.textContent.trim();
    return ends[i] ? [`${title} low${unit(cell)}`, `${title} high${unit(cell)}`] : [`${title}${unit(cell)}`];
  });
  const split = (cell, i) => (ends[i] ? [...value(cell).split(" "), ""].slice(0, 2) : [value(cell)]);
  return [titles, ...[...body.rows].filter((row) => !row.hidden).map((row) => [...row.cells].flatMap(split))];
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { readonly: "", rows: "6", "aria-label": "The rows as CSV, to copy" });
    area.value = text;
    button.closest(".tools").append(area);
    area.addEventListener("blur", () => area.remove());
    area.select();
    return false;
  }
}

function addCopy(tools, head, body) {
  const button = make("button", { type: "button" }, "Copy as CSV");
  const told = make("span", { role: "status" });
  button.addEventListener("click", async () => {
    const rows = tableRows(head, body);
    const copied = await copy(csv(rows), button);
    told.textContent = copied ? `${rows.length - 1} rows copied` : "Select and copy the text below";
    setTimeout(() => (told.textContent = ""), 5000);
  });
  tools.append(told, button);
}

function addTools(box) {
  const table = box.querySelector("table");
  const [head, body] = [table.tHead.rows[0], table.tBodies[0]];
  if (body.rows.length < FEWEST_ROWS || box.closest(".facts")) return;
  const tools = make("div", { class: "tools" });
  box.before(tools);
  addFilters(tools, table.caption?.textContent ?? "this table", head, body);
  addCopy(tools, head, body);
  addSorting(head, body);
}

/* Links to what is folded or filtered away */

function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  if (!target) return;
  if (target.hidden) target.parentElement.dispatchEvent(new Event("reveal"));
  for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target.scrollIntoView();
}

/* Charts */

const tip = make("div", { class: "tip", role: "status" });
let asked = { x: 0, y: 0 };

function tell(spots, at) {
  for (const spot of document.querySelectorAll(".spot.on")) spot.classList.remove("on");
  tip.textContent = spots.map((spot) => spot.dataset.text).join("\n");
  if (spots.length === 0) return;
  asked = at;
  for (const spot of spots) spot.classList.add("on");
  const left = Math.min(at.x + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const top = at.y + 18 + tip.offsetHeight < innerHeight ? at.y + 18 : at.y - tip.offsetHeight - 12;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function step(chart, spots, event) {
  const last = spots.length - 1;
  const at = spots.findIndex((spot) => spot.classList.contains("on"));
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
  if (event.key === "Escape") tell([]);
  if (to === undefined) return;
  event.preventDefault();
  show(spots[Math.min(Math.max(to, 0), last)]);
}

function show(spot) {
  const box = spot.getBoundingClientRect();
  tell([spot], { x: box.left + Math.min(box.width / 2, 60), y: box.bottom - 14 });
}

function follow() {
  const chosen = document.activeElement.closest("svg.chart")?.querySelector(".spot.on");
  const under = document.elementsFromPoint(asked.x, asked.y);
  if (chosen) show(chosen);
  else tell([...document.querySelectorAll(".spot.on")].filter((spot) => under.includes(spot)), asked);
}

function addTelling(chart) {
  const spots = [...chart.querySelectorAll(".spot")];
  if (spots.length === 0) return;
  for (const title of chart.querySelectorAll(".spot > title")) {
    title.parentElement.dataset.text = title.textContent; /* The browser would show its own box over ours. */
    title.remove();
  }
  const name = chart.querySelector("title");
  chart.setAttribute("aria-label", name.textContent);
  chart.setAttribute("aria-describedby", chart.getAttribute("aria-labelledby").split(" ")[1]);
  chart.removeAttribute("aria-labelledby");
  name.remove();
  chart.setAttribute("tabindex", "0");
  const under = (event) => {
    const found = document.elementsFromPoint(event.clientX, event.clientY);
    tell(spots.filter((spot) => found.includes(spot)), { x: event.clientX, y: event.clientY });
  };
  chart.addEventListener("pointermove", under);
  chart.addEventListener("click", under);
  chart.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && tell([]));
  chart.addEventListener("focus", () => chart.matches(":focus-visible") && show(spots[0]));
  chart.addEventListener("blur", () => tell([]));
  chart.addEventListener("keydown", (event) => step(chart, spots, event));
}

/* Colours */

function addThemes(bar) {
  const options = ["auto", "light", "dark"].map((name) => make("option", { value: name }, name));
  const select = make("select", { "aria-label": "Colours", title: "Colours of the page" }, ...options);
  select.addEventListener("change", () => {
    const root = document.documentElement;
    if (select.value === "auto") delete root.dataset.theme;
    else root.dataset.theme = select.value;
  });
  bar.append(select);
}

/* Data */

function dataRows(data) {
  const text = (entry) => (entry === null ? "" : entry === true ? "True" : entry === false ? "False" : String(entry));
  const rows = data.figures.map(([place, ...figure]) => {
    const of = new Map(data.of_a_case.map((name, i) => [name, data.cases[place][i]]));
    data.of_a_figure.forEach((name, i) => of.set(name, figure[i] ?? null));
    of.set("unit", data.units[of.get("metric")] ?? null);
    return data.columns.map((name) => text(of.get(name)));
  });
  return [data.columns, ...rows];
}

function addSaving(place, rows) {
  const button = make("button", { type: "button" }, "Download the data (CSV)");
  button.addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([csv(dataRows(JSON.parse(rows.textContent)))], { type: "text/csv" }));
    make("a", { href: address, download: place.dataset.name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  });
  place.replaceChildren(button);
}

/* Print */

function unfold() {
  const folds = [...document.querySelectorAll("main details:not([open])")].filter((fold) => !fold.closest(".tools"));
  for (const fold of folds) fold.open = true;
  addEventListener("afterprint", () => folds.forEach((fold) => (fold.open = false)), { once: true });
}

for (const box of document.querySelectorAll("main .scroll")) addTools(box);
for (const chart of document.querySelectorAll("svg.chart")) addTelling(chart);
document.querySelector("main").append(tip);
addThemes(document.querySelector(".bar"));
if (document.getElementById("rows")) addSaving(document.getElementById("save"), document.getElementById("rows"));
addEventListener("hashchange", reveal);
addEventListener("beforeprint", unfold);
addEventListener("scroll", follow, { passive: true });
document.addEventListener("keydown", (event) => event.key === "Escape" && tell([]));
if (location.hash) reveal();
