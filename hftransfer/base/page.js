"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (tag, kind, text) => {
    const node = document.createElement(tag);
    if (kind) node.className = kind;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // What scrolls sideways can be reached by keys, and shows where there is more.
  const shade = (box) => box.classList.toggle("at-end", box.scrollLeft + box.clientWidth >= box.scrollWidth - 1);
  const reach = () => all(".wide").forEach((box) => {
    const scrolls = box.scrollWidth > box.clientWidth;
    if (scrolls) box.tabIndex = 0; else box.removeAttribute("tabindex");
    box.classList.toggle("scrolls", scrolls);
    shade(box);
  });
  all(".wide").forEach((box) => box.addEventListener("scroll", () => shade(box), { passive: true }));
  reach();
  addEventListener("resize", reach);

  // Tables that can be sorted by any column.
  const value = (row, column) => {
    const text = (row.cells[column] || { textContent: "" }).textContent.trim(), number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text : number;
  };
  const order = (one, other) => {
    if (one === "" || other === "") return (one === "") - (other === "");
    if (typeof one === typeof other) return typeof one === "number" ? one - other : one.localeCompare(other);
    return typeof one === "number" ? -1 : 1;
  };
  all("table.sortable").forEach((table) => all("thead th", table).forEach((head, column) => {
    const button = made("button", "", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const falls = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && column === 0);
      all("thead th", table).forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falls ? "ascending" : "descending");
      const rows = all("tbody tr", table).sort((one, other) => {
        const found = order(value(one, column), value(other, column));
        return falls ? found : -found;
      });
      table.tBodies[0].append(...rows);
    });
  }));

  // The cells of a confusion matrix choose which examples are shown.
  const examples = all("[data-cell]").filter((one) => !one.closest(".matrix")), bar = document.getElementById("filter");
  const choose = (button) => {
    const pressed = button && button.getAttribute("aria-pressed") !== "true" ? button : null;
    all(".matrix button").forEach((one) => one.setAttribute("aria-pressed", one === pressed));
    const cell = pressed && pressed.parentNode.dataset.cell;
    examples.forEach((one) => { one.hidden = cell !== null && one.dataset.cell !== cell; });
    all(".group").forEach((one) => { one.hidden = cell !== null && all("[data-cell]", one).every((own) => own.hidden) });
    bar.hidden = cell === null;
    if (cell !== null) {
      const shown = examples.filter((one) => !one.hidden).length;
      bar.firstElementChild.textContent = pressed.parentNode.dataset.words + ": " + shown + " of " + pressed.textContent + " shown.";
    }
  };
  if (bar) {
    const there = new Set(examples.map((one) => one.dataset.cell));
    all(".matrix td[data-cell]").filter((one) => there.has(one.dataset.cell)).forEach((one) => {
      const button = made("button", "", one.textContent.trim());
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-label", one.dataset.words + ": " + button.textContent + ". Show these");
      one.replaceChildren(button);
      button.addEventListener("click", () => choose(button));
    });
    bar.querySelector("button").addEventListener("click", () => choose(null));
  }

  // Pictures are large on click; the arrows lead to the next.
  const figures = all(".pictures figure").filter((one) => one.querySelector("img"));
  if (!figures.length) return;
  const dialog = made("dialog"), views = made("div", "views"), words = made("p"), form = made("form"), close = made("button", "", "Close");
  dialog.setAttribute("aria-label", "A picture, large");
  form.method = "dialog";
  form.append(close);
  dialog.append(views, words, form);
  document.body.append(dialog);
  let place = 0;
  const show = (number) => {
    place = number;
    const figure = figures[number], strip = figure.parentNode.classList.contains("strips");
    views.replaceChildren(...all("img", figure).map((one) => {
      const copy = made("img", strip ? "strip" : "");
      copy.src = one.src;
      copy.alt = one.alt;
      return copy;
    }));
    words.textContent = all("figcaption > *", figure).map((one) => one.textContent).join("\n") || figure.querySelector("figcaption").textContent;
  };
  figures.forEach((figure, number) => {
    const button = made("button", "zoom"), images = all("img", figure);
    button.type = "button";
    button.setAttribute("aria-label", "Show large: " + images[0].alt);
    images[0].before(button);
    button.append(...images);
    button.addEventListener("click", () => { show(number); dialog.showModal(); });
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    for (let next = place + step; next >= 0 && next < figures.length; next += step)
      if (figures[next].checkVisibility()) return show(next);
  });
})();
