"use strict";
// The readings as a table, with the columns of `demo.py --csv`.

function columns(granularities) {
  const own = granularities.flatMap((name) => [name, `${name}_confidence`]);
  return ["file", "text", "confidence", "granularity", ...own];
}

function tableRow(name, answer) {
  const own = answer.readings.flatMap((reading) => [reading.text, reading.confidence]);
  return [name, answer.text, answer.confidence, answer.granularity, ...own];
}

function showTable(table, header, rows) {
  table.replaceChildren();
  const head = table.createTHead().insertRow();
  for (const title of header) {
    const cell = element("th", title.endsWith("confidence") ? "number" : "", title);
    cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const values of rows) {
    const row = body.insertRow();
    values.forEach((value, i) => {
      const cell = element(i ? "td" : "th", typeof value === "number" ? "number" : "");
      cell.textContent = typeof value === "number" ? value.toFixed(3) : value;
      if (!i) cell.scope = "row";
      row.append(cell);
    });
  }
}

// Fields that hold a separator, a quote or a line break are quoted, as spreadsheets do it too.
function delimited(rows, separator) {
  const field = (value) => {
    const text = String(value);
    const plain = !text.includes(separator) && !/["\r\n]/.test(text);
    return plain ? text : `"${text.replaceAll('"', '""')}"`;
  };
  return rows.map((row) => row.map(field).join(separator) + "\r\n").join("");
}

// Texts that a spreadsheet would take for formulas. They stay as they were read; the page warns.
function formulas(rows) {
  return rows.flat().filter((value) => typeof value === "string" && /^[=+\-@\t\r]/.test(value));
}

function download(text, name) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
