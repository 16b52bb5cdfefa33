// The filter of the API reference. Without it the page shows every operation.

const form = document.querySelector(".filter");
const field = form.elements.q;
const status = form.querySelector("[role=status]");
const articles = [...document.querySelectorAll("article")].map((element) => ({
  element,
  entry: document.querySelector(`[data-for="${element.id}"]`),
  text: element.querySelector(".description").textContent.replaceAll("\u200b", "").toLowerCase(),
}));

function apply() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { element, entry, text } of articles) {
    const matches = words.every((word) => text.includes(word));
    element.hidden = entry.hidden = !matches;
    shown += matches;
  }
  for (const group of document.querySelectorAll("section.group")) {
    const empty = !group.querySelector("article:not([hidden])");
    group.hidden = document.querySelector(`[data-group="${group.id}"]`).hidden = empty;
  }
  for (const about of document.querySelectorAll("section.about")) about.hidden = words.length > 0;
  status.textContent = words.length ? (shown ? `${shown} of ${articles.length} operations` : "No matches") : "";
}

form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
field.addEventListener("input", apply);
addEventListener("hashchange", () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.closest("[hidden]")) {
    field.value = "";
    apply();
    target.scrollIntoView();
  }
});
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !/input|textarea/i.test(event.target.nodeName)) {
    event.preventDefault();
    field.focus();
  }
});

const wide = matchMedia("(min-width: 900px)");
const contents = document.querySelector(".contents details");
const fold = () => (contents.open = wide.matches);
wide.addEventListener("change", fold);
fold();
apply();
