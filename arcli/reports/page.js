"use strict";
const SHOWN = 200;

function choose(items, words, column, ascending) {
  const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = items.filter(item => {
    const text = item.join(" ").toLowerCase();
    return parts.every(part => text.includes(part));
  });
  const order = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const numbers = typeof a === "number" && typeof b === "number";
    const less = numbers ? a - b : String(a).localeCompare(String(b));
    return ascending ? less : -less;
  };
  return column === null ? chosen : chosen.sort((x, y) => order(x[column], y[column]));
}

function start(document) {
  const source = document.getElementById("items-data");
  if (source === null) return;
  const items = JSON.parse(source.textContent);
  const heads = [...document.querySelectorAll("#items-head button")];
  const kinds = heads.map(head => head.dataset.kind);
  const body = document.getElementById("items-body");
  const count = document.getElementById("items-count");
  const search = document.getElementById("items-search");
  const more = document.getElementById("items-more");
  let column = null, ascending = true, shown = SHOWN;

  function draw() {
    const chosen = choose(items, search.value, column, ascending);
    body.replaceChildren(...chosen.slice(0, shown).map(item => {
      const row = document.createElement("tr");
      item.forEach((value, place) => {
        const cell = document.createElement("td");
        const kind = kinds[place];
        cell.textContent = value === null ? "-" : kind === "seconds" ? value.toPrecision(4) : value;
        cell.title = cell.textContent;
        if (kind === "number" || kind === "seconds") cell.className = "n";
        if (kind === "status" && value !== "ok") cell.className = "not-ok";
        row.append(cell);
      });
      return row;
    }));
    count.textContent = `${chosen.length} of ${items.length} items`;
    more.hidden = chosen.length <= shown;
  }

  search.addEventListener("input", () => { shown = SHOWN; draw(); });
  more.addEventListener("click", () => { shown += 5 * SHOWN; draw(); });
  heads.forEach((head, place) => {
    head.addEventListener("click", () => {
      ascending = column === place ? !ascending : true;
      column = place;
      draw();
    });
  });
  draw();
}

if (typeof document !== "undefined") start(document);
