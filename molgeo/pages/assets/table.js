"use strict";
// A table that sorts, searches and turns its leaves: TanStack Table decides, this shows.

// Args: box, an element; data, one number per row; columns, each with id, title, about, value(row) for
// sorting (undefined comes last), node(row), search, name of a class, hidden, isWide. Returns the table.
const showTable = (box, data, columns, open) => {
  const make = (tag, more = {}, ...inside) => {
    const made = Object.assign(document.createElement(tag), more);
    made.append(...inside);
    return made;
  };
  const core = TableCore.createTable({
    data, state: {}, renderFallbackValue: null, onStateChange: () => {},
    columns: columns.map((one) => ({
      id: one.id, meta: one, accessorFn: (row) => one.value?.(row), enableSorting: Boolean(one.value),
      sortUndefined: "last", sortingFn: one.isText ? "text" : "basic", sortDescFirst: false,
    })),
    globalFilterFn: (row, id, text) => String(row.getValue(id) ?? "").toLowerCase().includes(text.toLowerCase()),
    getColumnCanGlobalFilter: (column) => Boolean(column.columnDef.meta.search),
    getCoreRowModel: TableCore.getCoreRowModel(), getSortedRowModel: TableCore.getSortedRowModel(),
    getFilteredRowModel: TableCore.getFilteredRowModel(), getPaginationRowModel: TableCore.getPaginationRowModel(),
  });
  let state = { ...core.initialState, pagination: { pageIndex: 0, pageSize: 25 },
    columnVisibility: Object.fromEntries(columns.map((one) => [one.id, !one.hidden])) };
  const use = () => core.setOptions((old) => ({ ...old, state, onStateChange: (change) => {
    state = typeof change === "function" ? change(state) : change;
    use();
    render();
  } }));

  const search = make("input", { type: "search", placeholder: "Search names, SMILES, notes", ariaLabel: "search" });
  search.oninput = () => core.setGlobalFilter(search.value);
  const size = make("select", { ariaLabel: "rows per page" }, ...[25, 100, 500].map((n) => make("option", { value: n }, `${n} rows per page`)));
  size.onchange = () => core.setPageSize(Number(size.value));
  const choice = make("div", { className: "choice" });
  for (const one of columns.filter((each) => each.isChoice)) {
    const check = make("input", { type: "checkbox", checked: !one.hidden });
    check.onchange = () => core.getColumn(one.id).toggleVisibility(check.checked);
    choice.append(make("label", { title: one.about }, check, ` ${one.title}`));
  }
  const head = make("thead"), body = make("tbody"), count = make("span", { className: "quiet", role: "status" });
  const turn = (text, name, to) => make("button", { type: "button", ariaLabel: name, onclick: to }, text);
  const first = turn("«", "first page", () => core.firstPage()), back = turn("‹", "page before", () => core.previousPage());
  const next = turn("›", "next page", () => core.nextPage()), last = turn("»", "last page", () => core.lastPage());
  box.append(
    make("div", { className: "tools screen" }, search, size),
    ...(choice.childElementCount ? [make("details", { className: "screen" }, make("summary", {}, "Columns"), choice)] : []),
    make("div", { className: "wide grid" }, make("table", { className: "rows" }, head, body)),
    make("div", { className: "leaves" }, count, make("span", { className: "screen" }, first, back, next, last)),
  );

  const renderHead = () => head.replaceChildren(make("tr", {}, ...core.getVisibleLeafColumns().map((column) => {
    const { title, about = "", value } = column.columnDef.meta, sorted = column.getIsSorted();
    if (!value) return make("th", { className: "plain" }, title);
    const arrow = { asc: "↑", desc: "↓" }[sorted] ?? "↕";
    const button = make("button", { type: "button", title: about, className: "sort", onclick: () => column.toggleSorting() }, title, make("span", { ariaHidden: "true", className: sorted ? "" : "faint" }, ` ${arrow}`));
    button.dataset.column = column.id;
    const cell = make("th", { scope: "col" }, button);
    if (sorted) cell.ariaSort = sorted === "asc" ? "ascending" : "descending";
    return cell;
  })));
  const render = () => {
    const focused = document.activeElement?.dataset?.column;
    renderHead();
    if (focused) [...head.querySelectorAll("button")].find((one) => one.dataset.column === focused)?.focus();
    const found = core.getFilteredRowModel().rows.length, shown = core.getRowModel().rows;
    body.replaceChildren(...shown.map((row) => make("tr", { onclick: (event) => event.target.closest("button") || open(row.original) },
      ...row.getVisibleCells().map(({ column }) => {
        const one = column.columnDef.meta, inside = one.node(row.original);
        const cell = make("td", { className: `${one.name ?? ""} ${inside === null ? "empty" : ""}` }, inside ?? "–");
        if (one.title) cell.dataset.label = one.title;
        return cell;
      }))));
    const start = state.pagination.pageIndex * state.pagination.pageSize;
    count.textContent = found ? `${start + 1} to ${start + shown.length} of ${found.toLocaleString("en")} rows` : "no such row";
    first.disabled = back.disabled = !core.getCanPreviousPage();
    next.disabled = last.disabled = !core.getCanNextPage();
  };
  use();
  render();
  // The rows in the order of the table, as it is searched and sorted now.
  return { order: () => core.getPrePaginationRowModel().rows.map((row) => row.original) };
};
