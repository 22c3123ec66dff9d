"use strict";
(() => {
  const of = (id) => document.getElementById(id);
  const { columns, outputs, rows, inert, block, drawn } = JSON.parse(of("table").textContent);
  const place = Object.fromEntries(columns.map((name, c) => [name, c]));
  const cell = (k, name) => rows[k][0][place[name]] ?? "";
  const label = (k) => visible(cell(k, "name") || cell(k, "smiles") || cell(k, "input"));
  const kinds = { error: ["error: ", "message"], outside: ["outside the domain: ", "domain_reason"] };
  const note = (k) => {
    const [lead, column] = kinds[rows[k][2]] ?? ["", ""];
    return column ? lead + visible(cell(k, column)) : "";
  };
  const span = (text, name = "") => (text ? Object.assign(document.createElement("span"), { textContent: text, className: name }) : null);

  // A drawing comes once its block is unpacked.
  const drawingOf = (k) => {
    const made = Object.assign(document.createElement("div"), { className: "drawing" });
    if (k < drawn) unpack(Math.floor(k / block)).then((found) => { made.innerHTML = found[k % block][0]; });
    return made;
  };
  const opener = (k) => {
    const made = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: label(k) });
    made.onclick = () => open(k);
    return made;
  };
  const smiles = (k) => visible(cell(k, "smiles"));
  const hasNames = rows.some(([cells]) => cells[place.name]);
  // A name has its SMILES below, which is searched as a column of its own.
  const named = (k) => {
    const made = document.createElement("div");
    made.append(opener(k), ...(cell(k, "name") && smiles(k) ? [span(smiles(k), "smiles")] : []));
    return made;
  };
  const isEmpty = (text) => (text === "" ? undefined : text);
  const text = (id, title, get, more = {}) => ({ id, title, isText: true, search: true, name: id,
    value: (k) => isEmpty(get(k)), node: (k) => span(get(k), id), ...more });
  const table = showTable(of("rows"), rows.map((_, k) => k), [
    { id: "drawing", title: "", node: (k) => (rows[k][2] === "error" ? null : drawingOf(k)), name: "picture" },
    text("label", hasNames ? "name" : "molecule", label, { node: named }),
    text("smiles", "SMILES", smiles, { hidden: true }),
    text("note", "note", note, { hidden: !rows.some(([, , kind]) => kind), node: (k) => span(note(k), rows[k][2]) }),
    ...outputs.map((one, j) => ({
      id: one.name, title: one.unit ? `${one.name} / ${one.unit}` : one.name, about: one.about, name: "number",
      value: (k) => (rows[k][0][one.column] === "" ? undefined : Number(rows[k][0][one.column])),
      node: (k) => span(rows[k][1][j]), hidden: j >= 6, isChoice: true,
    })),
    text("geometry", "geometry", (k) => visible(cell(k, "geometry"))),
  ], (k) => open(k));

  // The csv is the output's own: what a spreadsheet takes for a formula has its quote.
  of("csv").onclick = () => {
    const quoted = new Set(inert.map(([k, c]) => `${k} ${c}`));
    const csv = (one) => (/[",\r\n]/.test(one) ? `"${one.replaceAll('"', '""')}"` : one);
    const lines = rows.map(([cells], k) => cells.map((one, c) => csv(quoted.has(`${k} ${c}`) ? `'${one}` : one)).join(","));
    const file = new Blob([[columns.map(csv).join(","), ...lines, ""].join("\n")], { type: "text/csv" });
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: "predictions.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  of("csv").hidden = false;

  const fill = (into, lines, heads) => {
    into.replaceChildren();
    if (heads) into.createTHead().insertRow().append(...heads.map((one) => Object.assign(document.createElement("th"), { textContent: one, scope: "col" })));
    const body = into.createTBody();
    for (const [name, ...values] of lines) {
      const line = body.insertRow();
      line.append(Object.assign(document.createElement("th"), { textContent: name, scope: "row" }));
      for (const value of values) line.insertCell().textContent = value;
    }
  };
  let now = 0, order = [];
  const show = async (k) => {
    now = k;
    const [cells, shown, kind] = rows[k], at = order.indexOf(k);
    of("one-name").textContent = label(k) || `row ${cell(k, "id")}`;
    of("one-note").textContent = note(k);
    of("one-note").className = kind;
    of("before").disabled = at <= 0;
    of("after").disabled = at === order.length - 1;
    const hasEnds = outputs.some((one) => one.ends.length && cells[one.ends[0]]);
    const known = outputs.map((one, j) => [one, shown[j]]).filter(([, value]) => value);
    fill(of("one-values"), known.map(([one, value]) => [
      one.name, one.unit ? `${value} ${one.unit}` : value, ...(hasEnds ? [one.ends.map((c) => cells[c]).join(" … ")] : []),
    ]), known.length ? ["property", "value", ...(hasEnds ? ["90% interval"] : [])] : null);
    fill(of("one-columns"), columns.map((name, c) => [visible(name), visible(cells[c])]).filter(([, one]) => one));
    const [flat, structure] = k < drawn ? (await unpack(Math.floor(k / block)))[k % block] : ["", ""];
    if (now !== k) return;
    of("flat").innerHTML = flat;
    showStructure(of("viewer"), structure);
  };
  const open = (k) => {
    order = table.order();
    of("one").showModal();
    of("one").scrollTop = 0;
    show(k);
  };
  of("shut").onclick = () => of("one").close();
  of("before").onclick = () => show(order[order.indexOf(now) - 1]);
  of("after").onclick = () => show(order[order.indexOf(now) + 1]);
  of("one").onclick = (event) => { if (event.target === of("one")) of("one").close(); };
})();
