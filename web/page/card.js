"use strict";
// A card for each image: waiting, then a reading with its maps, or an error.

const NAMES = { char: "characters", bpe: "BPE", wp: "WordPiece" };

function waitingCard(name) {
  const card = element("article", "item waiting");
  card.setAttribute("aria-busy", "true");
  card.append(cardTitle(name), element("p", "remark busy", "reading …"));
  return card;
}

function showError(card, message) {
  card.className = "item failed";
  card.removeAttribute("aria-busy");
  card.replaceChildren(card.firstChild, element("p", "wrong", message));
}

function showReading(card, name, answer, about) {
  card.className = "item";
  card.removeAttribute("aria-busy");
  const caption = element("p", "caption");
  const view = imageView(answer, `image ${name}`, (button) => {
    caption.textContent = button ? button.title : "";
  });
  card.replaceChildren(card.firstChild, view.canvas, caption, fused(answer));
  card.append(...answer.readings.map((one) => granularity(one, view.mapButton, about)));
  card.append(maps(answer, view.mapButton));
  card.addEventListener("mouseleave", () => view.show(null, null));
  card.addEventListener("focusout", (event) => {
    if (!card.contains(event.relatedTarget)) view.show(null, null);
  });
}

function cardTitle(name) {
  const title = element("h3", "", name);
  title.title = name;
  return title;
}

function fused(answer) {
  const line = element("p", "fused");
  const name = NAMES[answer.granularity] ?? answer.granularity;
  line.append(wordCell("b", "word", answer.text));
  line.append(element("span", "remark", `${answer.confidence.toFixed(3)}, by ${name}`));
  return line;
}

function granularity(reading, mapButton, about) {
  const block = element("div", reading.chosen ? "granularity chosen" : "granularity");
  const line = element("div", "line");
  line.append(element("span", "name", NAMES[reading.name] ?? reading.name));
  line.append(wordCell("span", "text", reading.text));
  line.append(meter(reading.confidence), element("span", "", reading.confidence.toFixed(3)));
  const pieces = about.hasMaps ? pieceButtons(reading, mapButton) : pieceTexts(reading);
  [...pieces.children].forEach((piece, i) => {
    piece.append(element("small", "", reading.probabilities[i].toFixed(2)));
  });
  block.append(line, pieces);
  return block;
}

function pieceTexts(reading) {
  const pieces = element("div", "pieces");
  reading.pieces.forEach((piece, i) => {
    const made = element("span", "piece", shownPiece(piece));
    made.title = pieceTitle(reading, i);
    pieces.append(made);
  });
  return pieces;
}

function meter(value) {
  const made = element("meter");
  made.value = value;
  made.setAttribute("aria-hidden", "true"); // the figure stands beside it
  return made;
}

function maps(answer, mapButton) {
  const line = element("div", "pieces");
  if (answer.coreArea) {
    const title = "core areas as predicted: blue 0, red 1";
    line.append(mapButton("core areas", answer.coreArea, title, true));
  }
  if (answer.guidedAttention) {
    const { low, high } = answer.guidedAttention;
    const title = `guided attention: blue ${low}, red ${high}`;
    line.append(mapButton("guided attention", answer.guidedAttention, title, true));
  }
  return line;
}
