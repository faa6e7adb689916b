"use strict";
// Page behaviour except audio: colour scheme, choice of source, sorting, filtering, links to collapsed items.
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const make = (name, properties) => Object.assign(document.createElement(name), properties);

  // Colour scheme: the system default until the button is pressed.
  const toggle = byId("theme");
  const remember = { get: () => null, set: () => {} };
  try { // a page opened from a file may not be allowed to
    const store = window.localStorage;
    Object.assign(remember, {
      get: () => store.getItem("torchsep-theme"),
      set: (value) => store.setItem("torchsep-theme", value),
    });
  } catch (error) { /* the choice is not saved */ }
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const name = () => { toggle.textContent = isDark() ? "Light" : "Dark"; };
  const kept = remember.get();
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember.set(root.dataset.theme);
    name();
  });
  system.addEventListener("change", name);
  toggle.title = "Change the colour scheme";
  toggle.hidden = false;
  name();

  // Sources as tabs.
  const panels = [...document.querySelectorAll(".panel")];
  if (panels.length > 1) {
    const tabs = panels.map((panel) => make("button", { type: "button", textContent: panel.dataset.title }));
    const show = (chosen) => panels.forEach((panel, index) => {
      panel.hidden = index !== chosen;
      tabs[index].setAttribute("aria-selected", String(index === chosen));
      tabs[index].tabIndex = index === chosen ? 0 : -1;
    });
    tabs.forEach((tab, index) => {
      tab.id = `tab-${index}`;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panels[index].id);
      panels[index].setAttribute("role", "tabpanel");
      panels[index].setAttribute("aria-labelledby", tab.id);
      panels[index].querySelector(".panel-title").hidden = true;
      tab.addEventListener("click", () => show(index));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = (index + step + tabs.length) % tabs.length;
        show(next);
        tabs[next].focus();
      });
    });
    byId("tabs").append(...tabs);
    byId("tabs").hidden = false;
    show(0);
  }

  // Sorting: missing values come last in either direction.
  const sort = (table, column, kind, ascending) => {
    const body = table.tBodies[0];
    const value = (row) => row.cells[column]?.dataset.value ?? "";
    const compare = kind === "number" ? (a, b) => Number(a) - Number(b) : (a, b) => a.localeCompare(b, "en", { numeric: true });
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return ascending ? compare(a, b) : compare(b, a);
    });
    rows.forEach((row) => row.classList.remove("starts"));
    body.append(...rows);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const first = head.dataset.first ?? (head.dataset.sort === "text" ? "ascending" : "descending");
        const other = first === "ascending" ? "descending" : "ascending";
        const order = before === first ? other : first;
        heads.forEach((cell) => cell.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        sort(table, column, head.dataset.sort, order === "ascending");
      });
    });
  }

  // Items: filtered by name, opened together, or opened by a link.
  const items = [...document.querySelectorAll("details.item")];
  if (items.length > 1) {
    const filter = byId("filter");
    const unfold = byId("unfold");
    const shown = () => items.filter((item) => !item.hidden);
    filter.parentElement.hidden = items.length < 8;
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const item of items) item.hidden = !words.every((word) => item.dataset.name.toLowerCase().includes(word));
      byId("found").textContent = words.length ? `${shown().length} of ${items.length} items` : "";
    });
    const rename = () => { unfold.textContent = shown().every((item) => item.open) ? "Close all" : "Open all"; };
    unfold.addEventListener("click", () => {
      const open = !shown().every((item) => item.open);
      for (const item of shown()) item.open = open;
    });
    for (const item of items) item.addEventListener("toggle", rename);
    byId("tools").hidden = false;
    rename();
  }
  const reveal = () => {
    const item = byId(decodeURIComponent(window.location.hash.slice(1)));
    if (!item?.matches("details.item")) return;
    item.hidden = false;
    item.open = true;
    item.scrollIntoView();
    item.querySelector("summary").focus({ preventScroll: true });
  };
  window.addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => { // also if the link is already the current target
    const link = event.target.closest?.('a[href^="#item-"]');
    if (link && link.getAttribute("href") === window.location.hash) reveal();
  });
  reveal();
})();
