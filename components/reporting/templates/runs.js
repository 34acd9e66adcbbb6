"use strict";
/* Searches and sorts the runs, and puts two of them side by side. */
(() => {
  const runs = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("list"), tools = document.getElementById("tools");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows], compared = document.getElementById("compared");
  const count = tools.querySelector("output");

  function search() {
    const words = tools.elements.words.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(words);
    const found = rows.filter((row) => !row.hidden).length;
    count.textContent = `${found} run${found === 1 ? "" : "s"}`;
  }

  for (const heading of table.querySelectorAll("thead th")) {
    const sort = document.createElement("button");
    sort.type = "button";
    sort.append(...heading.childNodes);
    heading.append(sort);
    sort.addEventListener("click", () => {
      const falling = heading.getAttribute("aria-sort") === "ascending", at = heading.cellIndex;
      for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const value = (row) => row.cells[at].dataset.value ?? row.cells[at].textContent.trim();
      const missing = (row) => value(row) === "";
      const compare = (a, b) => value(a).localeCompare(value(b), "en", {numeric: true});
      const numbers = (a, b) => value(a) - value(b);
      const order = rows.every((row) => "value" in row.cells[at].dataset) ? numbers : compare;
      rows.sort((a, b) => missing(a) - missing(b) || (falling ? order(b, a) : order(a, b)));
      body.append(...rows);
    });
  }

  function line(into, name, texts, kind = "td") {
    const row = into.insertRow(), head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    for (const text of texts) {
      const cell = document.createElement(kind);
      if (kind === "th") cell.scope = "col";
      for (const part of [].concat(text)) {
        const words = document.createElement("div");
        words.textContent = part;
        cell.append(words);
      }
      row.append(cell);
    }
  }

  function part(into, name, pairs) {
    const row = into.insertRow(), head = document.createElement("th");
    head.colSpan = 3;
    head.scope = "colgroup";
    head.className = "part";
    head.textContent = name;
    row.append(head);
    for (const [key, ...texts] of pairs) line(into, key, texts);
  }

  const union = (name, two) => [...new Set(two.flatMap((run) => Object.keys(run[name])))]
    .map((key) => [key, ...two.map((run) => run[name][key] ?? "–")]);

  function compare() {
    const chosen = rows.filter((row) => row.querySelector("input").checked).map((row) => +row.querySelector("input").value);
    for (const row of rows) {
      const box = row.querySelector("input");
      box.disabled = chosen.length === 2 && !box.checked;
    }
    compared.hidden = chosen.length !== 2;
    if (compared.hidden) return;
    const two = chosen.sort((a, b) => b - a).map((index) => runs[index]), into = compared.querySelector("table");
    into.replaceChildren();
    line(into, "Run", two.map((run) => run.Time), "th");
    line(into, "Outcome", two.map((run) => run.Outcome));
    part(into, "Figures", union("figures", two));
    const differ = union("settings", two).filter(([, a, b]) => a !== b);
    part(into, differ.length ? "Settings that differ" : "No setting differs", differ);
    part(into, "Verdict", [["Reasons", ...two.map((run) => run.reasons)]]);
    part(into, "Time of each node that was not cached", union("nodes", two));
    compared.scrollIntoView({block: "nearest"});
  }

  table.addEventListener("change", compare);
  tools.addEventListener("input", search);
  tools.addEventListener("submit", (event) => event.preventDefault());
  document.documentElement.classList.add("live");
  tools.hidden = false;
  search();
  compare();
})();
