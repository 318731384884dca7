"use strict";
// Text from data only ever becomes text nodes: nothing here writes HTML.

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
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

function wordCell(tag, className, text) {
  return text === "" ? element(tag, "empty", "(nothing)") : element(tag, className, text);
}

// The image on a canvas, with what draws maps over it.
//
// `show(button, map)` draws a map, or the image alone for null; `mapButton` makes a button that
// does so while it is pointed at or focused. `onShow` is told of the button that is shown, or null.
function imageView(item, label, onShow = () => {}) {
  const canvas = element("canvas");
  const scale = Math.max(1, Math.min(320 / item.width, 110 / item.height));
  canvas.width = Math.round(item.width * scale);
  canvas.height = Math.round(item.height * scale);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const picture = new Image();
  picture.addEventListener("load", () => draw(canvas, picture, item, null));
  picture.src = `data:image/jpeg;base64,${item.image}`;

  let pressed = null;
  const show = (button, map) => {
    if (pressed) pressed.setAttribute("aria-pressed", "false");
    pressed = button;
    if (button) button.setAttribute("aria-pressed", "true");
    if (picture.complete) draw(canvas, picture, item, map);
    onShow(button);
  };
  const mapButton = (text, map, title, mark) => {
    const button = element("button", mark ? "piece mark" : "piece", text);
    button.type = "button";
    button.title = title;
    button.setAttribute("aria-pressed", "false");
    for (const event of ["mouseenter", "focus", "click"]) {
      button.addEventListener(event, () => show(button, map));
    }
    return button;
  };
  return { canvas, show, mapButton };
}

function isStop(reading, i) {
  return reading.stopped && i === reading.pieces.length - 1;
}

function pieceTitle(reading, i) {
  const piece = isStop(reading, i) ? "stop" : `“${shownPiece(reading.pieces[i])}”`;
  return `${reading.name}, position ${i + 1}: ${piece} ${reading.probabilities[i].toFixed(3)}`;
}

// A granularity's pieces; each shows where it looked.
function pieceButtons(reading, mapButton) {
  const pieces = element("div", "pieces");
  reading.maps.forEach((map, i) => {
    const text = shownPiece(reading.pieces[i]);
    pieces.append(mapButton(text, map, pieceTitle(reading, i), isStop(reading, i)));
  });
  return pieces;
}
