// Optional improvements of the pages: filters apply on change without a full reload, and lists have keyboard shortcuts.

const form = document.querySelector("form[data-live]");
let requests = 0;
let shownSearch = location.search;

// Replaces a part of the page. A focused link in it stays focused; if it is missing, the first link of its class is.
function replace(now, then) {
  const focused = now.contains(document.activeElement) ? document.activeElement.closest("a") : null;
  now.replaceWith(then);
  if (!focused) return;
  const links = [...then.querySelectorAll("a")].filter((link) => link.className === focused.className);
  (links.find((link) => link.href === focused.href) ?? links[0])?.focus();
}

async function show(url) {
  const mine = ++requests;
  const results = document.querySelector(".results");
  results?.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(url, { headers: { accept: "text/html" }, redirect: "manual" });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== requests) return; // a newer request replaced this one
    for (const part of [".results", ".distribution", ".filters input[type=hidden]", ".filters [name=vendor] option"]) {
      const [now, then] = [document.querySelectorAll(part), page.querySelectorAll(part)];
      if (part.endsWith("option")) {
        now.forEach((option, place) => (option.text = then[place]?.text ?? option.text));
      } else if (part.startsWith(".filters")) {
        now.forEach((field) => field.remove());
        form?.append(...then);
      } else if (now.length && then.length) {
        replace(now[0], then[0]);
      } else if (now.length !== then.length) {
        throw new Error("another page");
      }
    }
    history.pushState(null, "", url);
    shownSearch = location.search;
  } catch {
    location.assign(url); // load the page without JavaScript, which shows the error
  }
}

if (form) {
  const address = () => {
    const fields = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) fields.set(name, value);
    return `${form.getAttribute("action")}?${fields}`;
  };
  document.documentElement.classList.add("live");
  let timer;
  form.addEventListener("input", (event) => {
    if (event.target.name === "sort") form.elements.dir.value = "";
    clearTimeout(timer);
    timer = setTimeout(() => show(address()), event.target.type === "search" ? 220 : 0);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    show(address());
  });
  addEventListener("popstate", () => location.search !== shownSearch && location.reload());
}

// "/" focuses the search field; "j" and "k" move through the rows of a list.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  if (event.key === "/") {
    const search = document.querySelector("[data-hotkey='/']");
    if (search) {
      event.preventDefault();
      search.select();
      search.focus();
    }
  } else if (event.key === "j" || event.key === "k") {
    const rows = [...document.querySelectorAll("a.row")];
    const at = rows.indexOf(document.activeElement);
    const next = event.key === "j" ? at + 1 : at < 0 ? 0 : at - 1;
    rows[Math.max(0, Math.min(rows.length - 1, next))]?.focus();
  }
});
