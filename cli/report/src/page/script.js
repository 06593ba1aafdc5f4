"use strict";
// Makes each table searchable, sortable and paged. Text goes in as text only.
(() => {
  const PAGE = 100;
  const node = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const textOf = (cell) => (Array.isArray(cell) ? cell[0] : cell);

  for (const data of document.querySelectorAll("script[data-table]")) {
    const box = data.parentElement;
    const [columns, rows] = JSON.parse(data.textContent);
    const body = box.querySelector("tbody");
    const heads = [...box.querySelectorAll("th")];
    const folded = rows.map((row) => row.map(textOf).join("\n").toLowerCase());
    const numbers = columns.map(([className]) => className === "number");
    const order = new Intl.Collator("en", { numeric: true }).compare;
    let found = rows.map((_, at) => at);
    let sorted = { column: -1, down: false };
    let first = 0;

    const bar = node("div", "bar");
    const input = node("input");
    input.type = "search";
    input.placeholder = "Search";
    input.setAttribute("aria-label", "Search");
    const count = node("span", "faint count");
    count.setAttribute("role", "status");
    const back = node("button", "back", "Previous");
    const on = node("button", "on", "Next");
    back.type = on.type = "button";
    if (box.dataset.search === "yes") {
      bar.append(input, count, back, on);
      box.prepend(bar);
    }
    const paged = rows.length > PAGE;
    back.hidden = on.hidden = !paged;

    const show = () => {
      const shown = found.slice(first, first + PAGE);
      body.replaceChildren(
        ...shown.map((at) => {
          const line = node("tr");
          rows[at].forEach((cell, column) => {
            const made = node("td", columns[column][0]);
            made.dataset.name = columns[column][1];
            if (Array.isArray(cell)) made.append(node("span", "badge " + cell[1], cell[0]));
            else made.textContent = cell;
            line.append(made);
          });
          return line;
        }),
      );
      const of = found.length === rows.length ? `${rows.length}` : `${found.length} of ${rows.length}`;
      count.textContent = paged && found.length > PAGE
        ? `${first + 1}\u2013${first + shown.length} of ${of}`
        : of;
      back.disabled = first === 0;
      on.disabled = first + PAGE >= found.length;
    };
    const find = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter((it) => it);
      found = [];
      folded.forEach((text, at) => {
        if (words.every((word) => text.includes(word))) found.push(at);
      });
      sort();
    };
    const sort = () => {
      const { column, down } = sorted;
      if (column >= 0) {
        const sign = down ? -1 : 1;
        const compare = numbers[column]
          ? (a, b) => (parseFloat(a) || 0) - (parseFloat(b) || 0)
          : order;
        found.sort((a, b) => sign * compare(textOf(rows[a][column]), textOf(rows[b][column])) || a - b);
      }
      first = 0;
      show();
    };

    input.addEventListener("input", find);
    back.addEventListener("click", () => { first = Math.max(0, first - PAGE); show(); });
    on.addEventListener("click", () => { first += PAGE; show(); });
    if (rows.length > 1) {
      heads.forEach((head, column) => {
        const button = node("button", "", head.textContent);
        button.type = "button";
        button.addEventListener("click", () => {
          sorted = { column, down: sorted.column === column && !sorted.down };
          heads.forEach((it) => it.removeAttribute("aria-sort"));
          head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
          sort();
        });
        head.replaceChildren(button);
      });
    }
    show();
    document.documentElement.dataset.ready = "yes";
  }
})();
