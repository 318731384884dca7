"use strict";
// Takes images in, asks the server for their readings, and shows what it says.

const AT_ONCE = 6; // requests; browsers open no more connections to a server

const part = (id) => document.getElementById(id);
const entries = []; // {name, card, answer or error}, as the page shows them
let about = null;

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("the server does not answer; is demo.py --web still running?");
  }
  if (!response.ok) throw new Error((await response.json()).error);
  return response;
}

function mebibytes(bytes) {
  return `${Number((bytes / 2 ** 20).toPrecision(3))} MiB`;
}

async function read(entry, file) {
  try {
    const blob = await file();
    if (blob.size > about.uploadBytes) {
      throw new Error(`the file is too large: ${mebibytes(about.uploadBytes)} are the most`);
    }
    const body = await contents(blob);
    const answer = await (await ask("readings", { method: "POST", body })).json();
    showReading(entry.card, entry.name, answer, about);
    entry.answer = answer;
  } catch (error) {
    entry.error = error.message;
    showError(entry.card, error.message);
  }
  updateSoon();
}

async function contents(blob) {
  try {
    return await blob.arrayBuffer();
  } catch {
    throw new Error("the file can't be read; is it a folder, or was it changed?");
  }
}

// Images: {name, file: function that gets the bytes as a blob}. The newest stand first.
const waiting = [];
let running = 0;

function add(images) {
  const added = images.map(({ name, file }) => ({ name, file, card: waitingCard(name) }));
  entries.unshift(...added);
  part("cards").prepend(...added.map((entry) => entry.card));
  waiting.push(...added);
  update();
  while (running < AT_ONCE && waiting.length) work();
}

async function work() {
  running += 1;
  while (waiting.length) {
    const entry = waiting.shift();
    await read(entry, entry.file);
  }
  running -= 1;
}

function addFiles(files) {
  add([...files].map((file) => ({ name: file.name, file: async () => file })));
}

function sample(number) {
  const file = async () => (await ask(`samples/${number}`)).blob();
  return { name: about.samples[number], file };
}

function results() {
  return entries.filter((entry) => entry.answer).map((e) => tableRow(e.name, e.answer));
}

function tableRows() {
  return [columns(about.granularities), ...results()];
}

// With many images, all that come within a frame are shown at once.
let scheduled = false;

function updateSoon() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    update();
  });
}

function update() {
  const read = entries.filter((entry) => entry.answer).length;
  const failed = entries.filter((entry) => entry.error).length;
  const left = entries.length - read - failed;
  const counts = [`${read} read`];
  if (failed) counts.push(`${failed} not read`);
  if (left) counts.push(`${left} to go`);
  part("status").textContent = entries.length ? counts.join(", ") : "Nothing has been read yet.";
  part("remark").hidden = !read;
  const rows = results();
  showTable(part("table"), columns(about.granularities), rows);
  part("table-section").hidden = !entries.length;
  part("copied").textContent = "";
  const odd = formulas(rows);
  part("formulas").hidden = !odd.length;
  part("formulas").textContent =
    `${odd.length} of the texts begin as a formula does (${odd[0]}). They are copied and saved as ` +
    "they were read: let your spreadsheet import these columns as text.";
}

async function copy() {
  try {
    await navigator.clipboard.writeText(delimited(tableRows(), "\t"));
    part("copied").textContent = "copied";
  } catch {
    part("copied").textContent = "the browser lets no page copy; download the table instead";
  }
}

function clear() {
  entries.splice(0);
  waiting.splice(0);
  part("cards").replaceChildren();
  update();
  part("choose").focus();
}

function whatIsDrawn() {
  if (!about.hasMaps) return "An ONNX file only reads: it has no attention to show.";
  const hint = "Point at a character, or go there with the Tab key, to see where the model looked.";
  if (!about.looksAtFixedPlaces) return hint;
  return `${hint} This model's decoder (ATD) looks at the same places in every image; its maps of ` +
    "the image itself are behind the last buttons.";
}

function showAbout() {
  const heads = about.granularities.map((name) => NAMES[name] ?? name).join(", ");
  part("model").textContent = `${about.model} · ${about.architecture} · reads ${heads}`;
  const forms = about.suffixes.map((suffix) => suffix.slice(1)).join(", ");
  const pixels = Number((about.imagePixels / 1e6).toPrecision(3));
  part("limits").textContent =
    `At most ${mebibytes(about.uploadBytes)} and ${pixels} million pixels: ${forms}.`;
  part("files").accept = about.suffixes.join(",");
  part("remark").textContent = whatIsDrawn();
  part("more-samples").hidden = !about.moreSamples;
  part("more-samples").textContent = `${about.moreSamples} more images are not offered here.`;
  about.samples.forEach((name, number) => {
    const button = element("button", "sample");
    button.type = "button";
    button.title = name;
    const image = element("img");
    image.src = `samples/${number}`;
    image.alt = `sample ${name}`;
    image.loading = "lazy";
    button.append(image);
    button.addEventListener("click", () => add([sample(number)]));
    part("all-samples").before(button);
  });
  part("offer").hidden = !about.samples.length;
}

function listen() {
  part("choose").addEventListener("click", () => part("files").click());
  part("files").addEventListener("change", () => {
    addFiles(part("files").files);
    part("files").value = ""; // the same file may be chosen again
  });
  part("all-samples").addEventListener("click", () => add(about.samples.map((_, i) => sample(i))));
  part("copy").addEventListener("click", copy);
  part("download").addEventListener("click", () =>
    // The mark tells spreadsheets that it is UTF-8.
    download("\ufeff" + delimited(tableRows(), ","), "readings.csv"));
  part("clear").addEventListener("click", clear);
  document.addEventListener("paste", (event) => addFiles(event.clipboardData.files));
  const over = (inside) => part("drop").classList.toggle("over", inside);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) over(false);
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // or the browser would leave the page for the image
    over(false);
    addFiles(event.dataTransfer.files);
  });
}

async function start() {
  try {
    about = await (await ask("about")).json();
    showAbout();
    listen();
  } catch (error) {
    part("status").textContent = error.message;
  }
}

start();
