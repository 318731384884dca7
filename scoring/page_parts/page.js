const PAGE = 60; // words shown at a time

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

function itemCard(item) {
  const card = element("article", "item");
  const { canvas, show, mapButton } = imageView(item, `image of ${item.truth}`);
  const words = element("dl", "words");
  words.append(element("dt", "", "truth"), wordCell("dd", "truth", item.truth));
  words.append(element("dt", "", "read"), wordCell("dd", "wrong", item.text));

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
    cell.append(pieceButtons(reading, mapButton));
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
  where.append(element("span", "", `${item.set} · ${item.place}${limit}`));
  where.append(element("span", "", `distance ${item.distance}`));
  card.append(canvas, words, table, where);
  return card;
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
