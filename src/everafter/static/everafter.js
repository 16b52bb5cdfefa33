// What the pages are better with, and work without: filters that apply as they change, keys to move by, and no full reload.

const form = document.querySelector("form[data-live]");
let asked = 0;
let seen = location.search;

async function show(url) {
  const mine = ++asked;
  const results = document.querySelector(".results");
  results?.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(url, { headers: { accept: "text/html" }, redirect: "manual" });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== asked) return; // a later question overtook this one
    for (const part of [".results", ".distribution", ".filters input[type=hidden]"]) {
      const [now, then] = [document.querySelectorAll(part), page.querySelectorAll(part)];
      if (part.startsWith(".filters")) {
        now.forEach((field) => field.remove());
        form?.append(...then);
      } else if (now.length && then.length) {
        now[0].replaceWith(then[0]);
      } else if (now.length !== then.length) {
        throw new Error("another page");
      }
    }
    history.pushState(null, "", url);
    seen = location.search;
  } catch {
    location.assign(url); // whatever it was, the plain way will say it
  }
}

if (form) {
  const address = () => {
    const fields = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) fields.set(name, value);
    return `${form.getAttribute("action")}?${fields}`;
  };
  document.documentElement.classList.add("live");
  let soon;
  form.addEventListener("input", (event) => {
    if (event.target.name === "sort") form.elements.dir.value = "";
    clearTimeout(soon);
    soon = setTimeout(() => show(address()), event.target.type === "search" ? 220 : 0);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(soon);
    show(address());
  });
  addEventListener("popstate", () => location.search !== seen && location.reload());
}

// "/" goes to the search; j and k go through the rows of a list.
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
