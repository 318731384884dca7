"use strict";
// Text from data only ever becomes text nodes: nothing here writes HTML.

const PAGE = 60; // words shown at a time

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function sortValue(row, column) {
  const cell = row.children[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text.replaceAll(",", ""));
  return text !== "" && !Number.isNaN(number) ? number : text;
}

function compareValues(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function makeSortable(table) {
  const body = table.tBodies[0];
  for (const button of table.querySelectorAll("button.sort")) {
    const header = button.closest("th");
    button.addEventListener("click", () => {
      const column = header.cellIndex;
      const first = header.classList.contains("number") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const direction = header.getAttribute("aria-sort") === first ? other : first;
      for (const one of header.parentElement.children) one.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort(
        (a, b) => sign * compareValues(sortValue(a, column), sortValue(b, column)));
      body.append(...rows);
    });
  }
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

// Blue, green, yellow, red, as maps are drawn elsewhere in this project.
function heat(level) {
  const ramp = (shift) => Math.max(0, Math.min(1, 1.5 - Math.abs(4 * level - shift)));
  return [255 * ramp(3), 255 * ramp(2), 255 * ramp(1)];
}

function heatCanvas(map) {
  const canvas = element("canvas");
  canvas.width = map.columns;
  canvas.height = map.rows;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(map.columns, map.rows);
  bytes(map.values).forEach((value, i) => pixels.data.set([...heat(value / 255), 255], 4 * i));
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// The image, and over it a map; the map is of the model's whole input, of which the image may
// cover only the left part.
function draw(canvas, picture, item, map) {
  const context = canvas.getContext("2d");
  context.globalAlpha = 1;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!map) return;
  context.globalAlpha = 0.5;
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(heatCanvas(map), 0, 0, canvas.width / item.seen, canvas.height);
}

function shownPiece(piece) {
  return piece === "" ? "∅" : piece;
}

function itemCard(item) {
  const card = element("article", "item");
  const canvas = element("canvas");
  const scale = Math.max(1, Math.min(320 / item.width, 110 / item.height));
  canvas.width = Math.round(item.width * scale);
  canvas.height = Math.round(item.height * scale);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `image of ${item.truth}`);
  const picture = new Image();
  picture.addEventListener("load", () => draw(canvas, picture, item, null));
  picture.src = `data:image/jpeg;base64,${item.image}`;

  const words = element("dl", "words");
  words.append(element("dt", "", "truth"), wordCell("dd", "truth", item.truth));
  words.append(element("dt", "", "read"), wordCell("dd", "wrong", item.text));

  let pressed = null;
  const show = (button, map) => {
    if (pressed) pressed.setAttribute("aria-pressed", "false");
    pressed = button;
    if (button) button.setAttribute("aria-pressed", "true");
    if (picture.complete) draw(canvas, picture, item, map);
  };
  const mapButton = (text, map, title, mark) => {
    const button = element("button", mark ? "piece mark" : "piece", text);
    button.type = "button";
    button.title = title;
    button.setAttribute("aria-pressed", "false");
    for (const event of ["mouseenter", "focus"]) {
      button.addEventListener(event, () => show(button, map));
    }
    button.addEventListener("click", () => show(button, map));
    return button;
  };

  const table = element("table");
  const body = table.createTBody();
  for (const reading of item.readings) {
    const row = body.insertRow();
    if (reading.chosen) row.className = "chosen";
    const name = row.insertCell();
    name.textContent = reading.name;
    if (reading.chosen) name.title = "the most confident: the fused reading";
    const cell = row.insertCell();
    cell.append(wordCell("div", reading.right ? "right" : "wrong", reading.text));
    const pieces = element("div", "pieces");
    reading.maps.forEach((map, i) => {
      const stop = i === reading.pieces.length - 1 && reading.pieces[i] === "stop";
      const title = `${reading.name}, position ${i + 1}: ${reading.probabilities[i]}`;
      pieces.append(mapButton(shownPiece(reading.pieces[i]), map, title, stop));
    });
    cell.append(pieces);
    const confidence = row.insertCell();
    confidence.className = "number";
    confidence.textContent = reading.confidence.toFixed(3);
  }
  if (item.coreArea) {
    const row = body.insertRow();
    row.insertCell().textContent = "map";
    row.insertCell().append(mapButton("core areas", item.coreArea, "core areas as predicted", true));
    row.insertCell();
  }
  card.addEventListener("mouseleave", () => show(null, null));

  const where = element("div", "where");
  const limit = item.beyondLimit ? " · longer than the model can read" : "";
  where.append(element("span", "", `${item.set} · record ${item.record}${limit}`));
  where.append(element("span", "", `distance ${item.distance}`));
  card.append(canvas, words, table, where);
  return card;
}

function wordCell(tag, className, text) {
  return text === "" ? element(tag, "empty", "(nothing)") : element(tag, className, text);
}

const ORDERS = {
  confidence: (a, b) => b.confidence - a.confidence,
  unsure: (a, b) => a.confidence - b.confidence,
  distance: (a, b) => b.distance - a.distance,
  near: (a, b) => a.distance - b.distance,
  length: (a, b) => b.truth.length - a.truth.length,
  set: (a, b) => a.set.localeCompare(b.set) || a.record - b.record,
};

function kinds(galleries) {
  const names = new Set(galleries.flatMap((g) => g.items.flatMap((i) => i.readings.map((r) => r.name))));
  const found = [["", "all", () => true]];
  if (names.size > 1) {
    found.push(["any", "right in some granularity", (item) => item.readings.some((r) => r.right)]);
    for (const name of names) {
      found.push([`right-${name}`, `${name} was right`,
        (item) => item.readings.some((r) => r.name === name && r.right)]);
    }
  }
  found.push(["sure", "confidence above 0.9", (item) => item.confidence > 0.9]);
  found.push(["near", "one edit away", (item) => item.distance === 1]);
  found.push(["beyond", "longer than the model can read", (item) => item.beyondLimit]);
  return found;
}

function startGallery(galleries) {
  const [search, checkpoint, set, kind, order, found, items, more] =
    ["search", "checkpoint", "set", "kind", "order", "found", "items", "more"]
      .map((id) => document.getElementById(id));
  galleries.forEach((gallery, i) => checkpoint.append(new Option(gallery.path, i)));
  document.getElementById("checkpoint-label").hidden = galleries.length < 2;
  const sets = new Set(galleries.flatMap((gallery) => gallery.items.map((item) => item.set)));
  for (const name of [...sets].sort()) set.append(new Option(name, name));
  const every = kinds(galleries);
  for (const [value, text] of every) kind.append(new Option(text, value));
  document.getElementById("filters").hidden = false;
  let chosen = [];
  let shown = 0;

  const showMore = () => {
    items.append(...chosen.slice(shown, shown + PAGE).map(itemCard));
    shown = Math.min(shown + PAGE, chosen.length);
    more.hidden = shown >= chosen.length;
  };
  const update = () => {
    const wanted = search.value.trim().toLowerCase();
    const [, , fits] = every.find(([value]) => value === kind.value);
    const texts = (item) => [item.truth, item.text, ...item.readings.map((r) => r.text)];
    const all = galleries[Number(checkpoint.value)].items;
    chosen = all
      .filter((item) => (!set.value || item.set === set.value) && fits(item) &&
        (!wanted || texts(item).some((text) => text.toLowerCase().includes(wanted))))
      .sort(ORDERS[order.value]);
    found.textContent = `${chosen.length} of ${all.length} shown here`;
    items.replaceChildren();
    shown = 0;
    showMore();
  };
  search.addEventListener("input", update);
  for (const select of [checkpoint, set, kind, order]) select.addEventListener("change", update);
  more.addEventListener("click", showMore);
  update();
}

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
const galleries = JSON.parse(document.getElementById("data").textContent);
if (galleries.some((gallery) => gallery.items.length)) startGallery(galleries);
