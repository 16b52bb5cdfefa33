// <everafter-coach>: a button, one card at a time, the checklist, recommendations, a call. See docs/coach.md.

const NAME = "everafter-coach", HERE = new URL(import.meta.url).origin;
// Until the server has sent its texts (coach/messages.toml).
const TEXTS = { coach: "Your coach", close: "Close", offline: "Your coach cannot be reached just now. It keeps trying." };

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host { display: contents !important; zoom: 1 !important; }
:host::before, :host::after { content: none !important; }
#layer { all: initial; font-family: inherit; color-scheme: inherit; direction: ltr; -webkit-text-size-adjust: 100%; text-size-adjust: 100%;
  --ea-accent: var(--everafter-accent, light-dark(#0f5563, #7cc3d0)); --ea-on-accent: var(--everafter-on-accent, light-dark(#fff, #0b1b1f));
  --ea-surface: var(--everafter-surface, light-dark(#fff, #191f22)); --ea-ink: var(--everafter-ink, light-dark(#1c2326, #e4e8e7));
  --ea-muted: var(--everafter-muted, light-dark(#566165, #9fabad)); --ea-line: var(--everafter-line, light-dark(#dfdfda, #3a4549));
  --ea-new: var(--everafter-new, light-dark(#c2410c, #fb923c)); --ea-radius: var(--everafter-radius, 14px); --ea-gap: var(--everafter-offset, clamp(12px, 2.5vw, 24px));
  position: fixed; z-index: 2147483647; inset-block-end: var(--ea-gap); inset-inline-end: var(--ea-gap); display: block; color: var(--ea-ink); line-height: 1.45; }
#layer:dir(rtl) { direction: rtl; }
#layer:not(:popover-open) { display: none; }
:host([hidden]), :host([inert]), [hidden] { display: none !important; }
*, ::before, ::after { box-sizing: border-box; }
h2, h3, p, ul { margin: 0; padding: 0; list-style: none; font-size: 1em; line-height: inherit; }
h2, h3 { font-weight: 650; line-height: 1.3; }
h2, h3, p, .text { unicode-bidi: plaintext; overflow-wrap: anywhere; text-align: start; }
button, a, input { font: inherit; color: inherit; }
:focus-visible { outline: 2px solid var(--ea-accent); outline-offset: 2px; }
.hush { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.small, .label { font-size: .875em; color: var(--ea-muted); }
.label { font-weight: 600; color: var(--ea-accent); flex-basis: 100%; }
.opener { position: relative; display: flex; justify-content: center; align-items: center; width: 56px; height: 56px; padding: 0; border-radius: 50%; color: var(--ea-accent); cursor: pointer; }
.track { position: absolute; inset: 2px; border-radius: 50%; background: conic-gradient(var(--ea-accent) var(--ea-done), var(--ea-line) 0); mask: radial-gradient(closest-side, #0000 calc(100% - 3px), #000 0); }
.ring { width: 17px; height: 17px; border: 2px solid; border-radius: 50%; } .ring + .ring { margin-inline-start: -7px; }
.dot { position: absolute; inset-block-start: 1px; inset-inline-end: 1px; width: 14px; height: 14px; border-radius: 50%; background: var(--ea-new); border: 2px solid var(--ea-surface); }
.panel, .sheet { display: flex; flex-direction: column; justify-content: end; }
.panel { position: absolute; font-size: max(15px, .9375em); inset-block-end: 68px; inset-inline-end: 0; width: min(380px, 100vw - 2 * var(--ea-gap)); height: min(600px, 100dvh - 84px - 2 * var(--ea-gap)); pointer-events: none; outline: none; }
.sheet { min-height: 0; border-radius: var(--ea-radius); pointer-events: auto; }
.opener, .sheet { background: var(--ea-surface); border: 1px solid var(--ea-line); box-shadow: 0 2px 6px #0002, 0 10px 40px #0003; }
.open .sheet:not(:has(.booked, .nothing)) { flex: 1; }
.panel:focus-visible .sheet { outline: 2px solid var(--ea-accent); }
.head { display: flex; align-items: center; padding: 6px 6px 2px; }
.head h2 { flex: 1; margin-inline-start: 12px; }
.icon { width: 44px; height: 44px; padding: 0; border: 0; border-radius: 10px; background: none; color: var(--ea-muted); font-size: 1.4em; line-height: 1; cursor: pointer; }
.scroll { flex: 1; overflow-y: auto; overscroll-behavior: contain; padding: 0 18px 16px; display: grid; gap: 16px; align-content: start; grid: auto-flow max-content / minmax(0, 1fr); }
.card, .inside { display: grid; gap: 7px; }
.open .card { padding: 12px 14px; background: color-mix(in srgb, var(--ea-accent) 9%, var(--ea-surface)); border-radius: calc(var(--ea-radius) - 4px); }
.card h3 { font-size: 1.1em; }
.acts { display: flex; flex-wrap: wrap; gap: 6px 8px; align-items: center; margin-block-start: 4px; }
.act { display: inline-flex; align-items: center; justify-content: center; min-height: 44px; min-width: 44px; padding: 6px 12px; border: 1px solid var(--ea-line); border-radius: calc(var(--ea-radius) - 5px); background: none; text-decoration: none; text-align: center; cursor: pointer; }
.act:hover, .icon:hover, summary:hover { background-image: linear-gradient(#8882, #8882); }
.main { background: var(--ea-accent); border-color: transparent; color: var(--ea-on-accent); font-weight: 600; padding-inline: 16px; }
.plain { border-color: transparent; color: var(--ea-muted); padding-inline: 6px; margin-inline: -3px; }
[aria-pressed=true], [aria-busy=true] { border-color: var(--ea-accent); box-shadow: inset 0 0 0 1px var(--ea-accent); font-weight: 600; }
summary { display: flex; gap: 8px; align-items: center; min-height: 44px; padding: 4px 6px; margin-inline: -6px; border-radius: 8px; cursor: pointer; list-style: none; }
summary::after { content: ""; flex: none; width: 7px; height: 7px; margin-inline: auto 4px; border: solid var(--ea-muted); border-width: 0 2px 2px 0; transform: translateY(-2px) rotate(45deg); }
[open] > summary::after { transform: translateY(2px) rotate(225deg); }
.why summary { color: var(--ea-muted); font-size: .875em; } .why summary::after { margin-inline-start: 2px; }
.title, .step { display: flex; gap: 8px; } .title > :first-child { flex: 1; }
progress { width: 100%; accent-color: var(--ea-accent); }
.item + .item { border-block-start: 1px solid var(--ea-line); }
.tick { flex: none; width: 20px; height: 20px; border: 2px solid var(--ea-line); border-radius: 50%; font: 700 12px/16px sans-serif; text-align: center; }
.did { background: var(--ea-accent); border-color: var(--ea-accent); color: var(--ea-on-accent); }
.inside { padding-block-end: 12px; padding-inline-start: 28px; } .place { display: inline-block; padding-block: 11px; margin-block: -11px; color: var(--ea-accent); text-underline-offset: 2px; }
.days { display: flex; gap: 6px; overflow-x: auto; padding: 3px; } .day { flex: none; }
.times { display: grid; grid-template-columns: repeat(auto-fill, minmax(5em, 1fr)); gap: 6px; } .slot { padding-inline: 0; white-space: nowrap; }
input { display: block; width: 100%; height: 44px; margin-block-start: 4px; padding: 0 10px; border: 1px solid var(--ea-muted); border-radius: 8px; background: var(--ea-surface); }
.foot { border-block-start: 1px solid var(--ea-line); padding: 4px 15px; }
.sky { position: fixed; inset: 0; overflow: hidden; pointer-events: none; } i { position: absolute; width: 9px; height: 14px; border-radius: 2px; background: var(--ea-accent); }
i:nth-child(3n) { background: #e3a008; } i:nth-child(3n + 1) { background: #e8597c; }
@media (prefers-reduced-motion: no-preference) { .panel { animation: in .16s ease-out; } @keyframes in { from { opacity: 0; } } }
@media (forced-colors: active) { .dot, .did, [aria-pressed=true] { forced-color-adjust: none; background: Highlight; color: HighlightText; } }
@media print { #layer { display: none; } }
`);

// h("p.small", { id: "x" }, "text", node) makes an element. Classes are also parts, functions are listeners, strings are text and never markup.
const h = (what, props, ...kids) => {
  const [tag, ...classes] = what.split("."), node = document.createElement(tag);
  for (const name of ["class", "part"]) if (classes.length) node.setAttribute(name, classes.join(" "));
  for (const [name, value] of Object.entries(props ?? {}))
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value != null && value !== false) node.setAttribute(name, value === true ? "" : value);
  node.append(...kids.flat(9).filter((kid) => kid || kid === 0));
  return node;
};
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const failure = (message, status, answer) => Object.assign(new Error(message), { status, answer });
const final = ({ status }) => status >= 400 && status < 500 && status !== 408 && status !== 429;

// Kept for this tab; for this page where storage is forbidden.
const memory = {};
const recall = (name) => { try { return memory[name] ?? JSON.parse(sessionStorage.getItem("everafter:" + name)); } catch { return null; } };
const remember = (name, value) => { memory[name] = value; try { sessionStorage.setItem("everafter:" + name, JSON.stringify(value)); } catch {} };

// Whether outer contains node, also through shadow roots.
const inside = (outer, node) => node && (outer.contains(node) || inside(outer, node.getRootNode().host));
const TYPED = "keydown keypress keyup beforeinput input compositionstart compositionupdate compositionend paste copy cut wheel touchmove".split(" ");
const held = new Set(); // keys pressed in the coach: the page does not get their release either, wherever the focus is
const coaches = new Set(); // the first connected one is active, the others wait

class EverafterCoach extends HTMLElement {
  static observedAttributes = ["page", "locale", "server", "token-url", "supplier-id"];
  #state; #celebration; #call; #texts = TEXTS;
  #mode = "closed"; // peek: only the new card; open: everything
  #later; // the card asks until when to snooze it
  #away; // nobody is signed in, or the coach is not for them
  #token; #getToken; #abort; #listeners; #timer; #queued; #failures = 0; #loadedAt = 0; #announced; #calm; #sending; #language;
  #layer; #button; #panel; #live;

  // Keep what is typed in the coach from the page's shortcuts: at the window, where capturing begins, and at the shadow
  // root for a coach inside a closed one. A listener that the page added to the window earlier runs before this one:
  // a character that it prevented is typed all the same.
  static #guard = (event) => {
    const [at, ...path] = event.composedPath(), coach = path.find((one) => one instanceof EverafterCoach), { type, key, code } = event;
    const down = type === "keydown", used = coach && (coach.#mode !== "closed" || key === "Enter" || key === " ");
    if (down) held[used ? "add" : "delete"](code);
    if (!(type.startsWith("key") ? held.has(code) : coach)) return;
    event.stopImmediatePropagation();
    if (type === "keyup") held.delete(code);
    if (!down) return;
    if (key === "Escape" && !event.isComposing) {
      event.preventDefault(); // a dialog of the page around the coach stays open
      coach.close();
    } else if (event.defaultPrevented && key?.length === 1 && at.localName === "input" && !event.ctrlKey && !event.metaKey)
      at.setRangeText(key, at.selectionStart, at.selectionEnd, "end");
  };
  static { if (!customElements.get(NAME)) for (const type of TYPED) addEventListener(type, this.#guard, true); }

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    this.#button = h("button.opener", { type: "button", "aria-haspopup": "dialog", "aria-controls": "panel", click: () => (this.#mode === "open" ? this.close() : this.open()) },
      h("span.track"), h("span.ring"), h("span.ring"), h("span.dot"));
    this.#panel = h("section.panel", { id: "panel", tabindex: -1, "aria-labelledby": "name" });
    this.#live = h("p.hush", { role: "status" });
    this.#layer = h("div", { id: "layer", popover: "manual" }, this.#button, this.#panel, this.#live);
    root.append(this.#layer);
    for (const type of TYPED) root.addEventListener(type, EverafterCoach.#guard, true);
  }

  // Tells the page's shortcuts that text is being typed here.
  get isContentEditable() { return this.shadowRoot.activeElement?.localName === "input"; }
  get page() { return this.getAttribute("page") ?? location.pathname; }
  set page(value) { this.setAttribute("page", value); }
  get #server() { return this.getAttribute("server") || HERE; }
  get #locale() { return this.getAttribute("locale") || this.closest("[lang]")?.lang || navigator.language; }
  get getToken() { return this.#getToken; }
  set getToken(value) { this.#getToken = value; this.#token = null; this.refresh(); }

  connectedCallback() {
    for (const name of ["page", "getToken"]) if (Object.hasOwn(this, name)) {
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
    coaches.add(this);
    this.#start();
  }

  // Runs again after each move within the page, and then changes nothing else.
  #start() {
    if ([...coaches].find((one) => one.isConnected) !== this) return console.warn(NAME + ": there is one on this page already. This one waits until it is removed.");
    if (this.#listeners) return this.#rise();
    const { signal } = (this.#listeners = new AbortController()), on = (target, name, when) => target.addEventListener(name, (event) => when(event) && this.refresh(), { signal });
    on(window.navigation ?? window, window.navigation ? "currententrychange" : "popstate", () => !this.hasAttribute("page"));
    on(window, "pageshow", (event) => event.persisted);
    on(window, "online", () => true);
    on(document, "visibilitychange", () => !document.hidden && (this.#away || this.#failures || performance.now() - this.#loadedAt > 60_000));
    addEventListener("resize", () => this.#rise(), { signal });
    for (const name of ["close", "toggle", "fullscreenchange"]) document.addEventListener(name, ({ target }) => this.#rise(name !== "close" && inside(target, this)), { signal, capture: true });
    this.#begin();
  }

  disconnectedCallback() {
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.#listeners?.abort();
      this.#listeners = null;
      this.#abort?.abort();
      clearTimeout(this.#timer);
      coaches.delete(this);
      [...coaches][0]?.#start();
    });
  }

  // Show the coach in the browser's top layer, where no style of the page applies, at its own size. It stays below a
  // modal dialog of the page, unless that contains it.
  #rise(again) {
    const layer = this.#layer, { style } = layer;
    if (!this.#listeners) return;
    if (again) layer.hidePopover?.();
    if (!layer.matches(":popover-open") && ![...document.querySelectorAll(":modal")].some((one) => !inside(one, this))) layer.showPopover();
    style.zoom = (style.zoom || 1) / layer.currentCSSZoom || 1;
  }

  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (/page|locale/.test(name)) this.refresh();
    else if (this.#listeners) this.#begin();
  }

  // Paint at once: the button, and what this tab saw last of the supplier that the page names.
  #begin() {
    this.#celebration = this.#call = this.#token = this.#language = null;
    [this.#state, this.#texts] = recall(this.#whose) ?? [null, TEXTS];
    if (recall("open")) this.#mode = "open";
    this.#render();
    this.refresh();
  }

  // Several calls in one turn make one request; a newer request aborts an older one.
  refresh() {
    if (!this.#queued && this.#listeners) this.#queued = Promise.resolve().then(() => { this.#queued = null; this.#load(); });
  }

  open() {
    this.#mode = "open";
    remember("open", true);
    this.#render();
    this.#panel.focus();
  }

  close(focus = this.shadowRoot.activeElement) {
    this.#notice();
    if (this.#call?.booked) this.refresh();
    this.#mode = "closed";
    this.#later = this.#call = null;
    remember("open", false);
    this.#render();
    if (focus) this.#button.focus();
  }

  async #load() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    if (!this.#listeners || !(this.#getToken || this.hasAttribute("token-url"))) return;
    const { signal } = (this.#abort = new AbortController()), locale = this.#locale, whose = this.getAttribute("supplier-id");
    await this.#sending;
    if (signal.aborted) return;
    try {
      const { messages, celebration, ...state } = await this.#ask("GET", "?" + new URLSearchParams({ page: this.page, locale, messages: locale !== this.#language }), { signal });
      // The tab that claims a celebration shows it; a hidden tab leaves it to a visible one.
      const won = celebration && !document.hidden && (await this.#ask("POST", "/celebrations/" + encodeURIComponent(celebration.id)).catch((error) => this.#fail(error)))?.celebrate && whose === this.getAttribute("supplier-id");
      if (won) this.#celebration = celebration;
      if (!signal.aborted || (won && !this.#state)) {
        const news = messages || this.#away || JSON.stringify(state) !== JSON.stringify(this.#state);
        this.#state = state;
        this.#texts = messages ?? this.#texts;
        this.#language = locale;
        this.#loadedAt = celebration && document.hidden ? -1e6 : performance.now();
        this.#failures = 0;
        this.#away = this.#calm = false;
        this.#keep();
        if (news) this.#render();
      }
      if (won) { this.#render(); this.#celebrate(); }
    } catch (error) {
      if (signal.aborted) return;
      this.#fail(error);
      this.#away = final(error);
      if (!this.#away) this.#timer = setTimeout(() => document.hidden || this.refresh(), Math.min(60_000, 1000 * 2 ** this.#failures++) * (0.75 + Math.random() / 2));
      this.#render();
    }
  }

  async #ask(method, path, { body, key, signal } = {}) {
    for (let again = false; ; again = true) {
      const headers = { Authorization: "Bearer " + (await this.#identify(again)), ...(body && { "Content-Type": "application/json" }), ...(key && { "Idempotency-Key": key }) };
      const signals = [AbortSignal.timeout(20_000), ...(signal ? [signal] : [])];
      const response = await fetch(this.#server.replace(/\/$/, "") + "/api/coach" + path, { method, headers, body: body && JSON.stringify(body), credentials: "omit", keepalive: method === "POST", signal: AbortSignal.any(signals) });
      if (response.status === 401 && !again) continue;
      const answer = await response.json().catch(() => null);
      if (response.ok) return answer;
      throw failure(answer?.detail ?? response.statusText, response.status, answer);
    }
  }

  // A token is used for its own lifetime, measured here, since the clock may be wrong. #token is a promise, replaced when
  // the supplier changes: a late answer for another supplier is dropped.
  async #identify(renew) {
    const old = this.#token, known = await old?.catch(() => null);
    if (!renew && performance.now() < known?.until) return known.text;
    if (!this.#token || this.#token === old) this.#token = (async () => {
      const given = await this.#askPlatform(), text = typeof given === "string" ? given.trim() : "", began = performance.now();
      // anything else that the platform answers, such as its sign-in page, is never sent on
      if (text.length > 4096 || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) throw failure("the platform gave no token", 401);
      let span = 0;
      try {
        const { exp, iat } = JSON.parse(atob(text.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
        span = exp - iat - 30;
      } catch {}
      return { text, until: began + 1000 * span };
    })();
    return (await this.#token).text;
  }

  // An error of getToken counts by its status; without one the request is retried. An answer that is not JSON counts as 401.
  async #askPlatform() {
    try { return await (this.#getToken ? this.#getToken() : this.#fetchToken()); } catch (error) {
      throw failure(error?.message ?? String(error), error?.status ?? error?.response?.status ?? (error instanceof SyntaxError ? 401 : undefined));
    }
  }

  // A redirect to a page that cannot be read, such as another origin's sign-in page, means that the session has ended.
  async #fetchToken() {
    const ask = (redirect) => fetch(this.getAttribute("token-url"), { credentials: "same-origin", cache: "no-store", redirect, signal: AbortSignal.timeout(20_000) });
    let response = await ask("manual"), text = "", part;
    if (response.type === "opaqueredirect") response = await ask("follow").catch(() => Response.error());
    if (!response.ok) throw failure("no token: " + response.status, response.status || 401);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    while (reader && text.length < 9000 && !(part = await reader.read()).done) text += part.value;
    reader?.cancel();
    try { const answer = JSON.parse(text); return answer.token ?? answer; } catch { return text; }
  }

  // Send a POST; up to three attempts.
  async #send(path, body) {
    for (let round = 1; ; round++) try { return await this.#ask("POST", path, { body }); } catch (error) {
      if (round === 3 || final(error)) return this.#fail(error);
      await wait(1000 * round);
    }
  }

  #fail({ message, status }) { this.#emit("error", { message, status }); }
  #emit(name, detail) { return this.dispatchEvent(new CustomEvent("everafter:" + name, { detail, bubbles: true, composed: true, cancelable: true })); }

  get #card() {
    const { help, tip } = this.#state ?? {};
    if (this.#celebration) return { kind: "celebration", ...this.#celebration };
    if (help && !this.#known(this.#name({ kind: "no" }))) return { kind: "help", id: "", ...help };
    return tip && { kind: "tip", ...tip };
  }
  #name(card) { return card && this.#state.supplier.id + card.kind + card.id; }
  #known(name) { return recall("known")?.includes(name); }
  #notice(name = this.#name(this.#card)) { if (name) remember("known", [...(recall("known") ?? []), name].slice(-50)); }
  get #whose() { return [this.#server, this.#locale, this.getAttribute("supplier-id")].join(" "); }
  #keep() { if (this.hasAttribute("supplier-id")) remember(this.#whose, [this.#state, this.#texts]); }
  #text(name, values) { return (this.#texts[name] ?? TEXTS[name] ?? "").replace(/\{(\w+)\}/g, (all, key) => values[key] ?? all); }

  #render() {
    this.#rise();
    const card = this.#card, list = this.#state?.checklist, name = this.#name(card), fresh = name && !this.#known(name);
    if (this.#mode !== "open") this.#mode = fresh && !this.#calm && !this.hasAttribute("no-popup") ? "peek" : "closed";
    const open = this.#mode === "open", button = this.#button, dot = button.lastChild;
    dot.hidden = !fresh || this.#mode !== "closed";
    button.style.setProperty("--ea-done", (list ? (100 * list.done) / list.total : 0) + "%");
    button.setAttribute("aria-expanded", open);
    button.setAttribute("aria-label", [this.#text("coach"), list && this.#text("progress", list), !dot.hidden && this.#text("something_new")].filter(Boolean).join(", "));
    button.hidden = this.#away;
    this.#panel.hidden = this.#away || this.#mode === "closed";
    if (!this.#panel.hidden) this.#fill(open, card);
    if (!this.#panel.hidden && fresh && this.#announced !== name) this.#live.textContent = this.#text(card.kind + "_label") + ": " + (card.title ?? card.message);
    this.#announced = name;
  }

  // Rebuild the panel each time, so that nothing jumps; keep focus, scroll position and open folds.
  #fill(open, card) {
    const panel = this.#panel, at = this.shadowRoot.activeElement?.dataset.k, folds = [...panel.querySelectorAll("details")].map((one) => [one.dataset.k, one.open]);
    const top = panel.querySelector(".scroll")?.scrollTop, call = this.#call, topic = panel.querySelector("input");
    if (call && topic) call.topic = topic.value;
    panel.classList.toggle("open", open);
    panel.setAttribute("role", open ? "dialog" : "region");
    panel.setAttribute("lang", this.#state?.locale ?? "en");
    panel.replaceChildren(h("div.sheet", null,
      h("header.head", null, call && !call.booked && this.#act("icon", "‹", "back", () => { this.#call = null; this.#render(); panel.focus(); }, { "aria-label": this.#text("back") }),
        h(open ? "h2" : "h2.label", { id: "name" }, this.#text(call ? (call.booked ? "booked_title" : "pick_time") : open ? "coach" : card.kind + "_label")),
        this.#act("icon", "×", "close", () => this.close(true), { "aria-label": this.#text("close") })),
      h("div.scroll", null, call ? this.#callView(call) : open ? this.#home(card) : this.#cardView(card)),
      open && !call && this.#state && card?.kind !== "help" && h("div.foot", null, this.#act("act.plain", this.#text("talk"), "talk", () => this.#startCall()))));
    for (const [key, was] of folds) { const one = this.#find(key); if (one) one.open = was; }
    panel.querySelector(".scroll").scrollTop = top ?? 0;
    if (at && !this.#button.matches(":focus")) (this.#find(at) ?? panel).focus();
  }
  #find(key) { return [...this.#panel.querySelectorAll("[data-k]")].find((one) => one.dataset.k === key); }

  #act(kind, label, key, click, more) { return h("button." + kind, { type: "button", "data-k": key, click, ...more }, label); }
  #word(key, click, kind = "act") { return this.#act(kind, this.#text(key), key, click); }

  // A link into the platform. The page may navigate itself (everafter:action).
  #link(kind, key, id, { url, label }, record) {
    const href = this.#address(url);
    return href && h("a." + kind, { href, "data-k": key, click: (event) => {
      const sent = record?.();
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      if (innerWidth < 500) this.close(false);
      if (this.#emit("action", { id, url })) Promise.race([sent, wait(700)]).then(() => location.assign(href));
    } }, label);
  }
  #outside(kind, key, url) { const href = url && this.#address(url, this.#server); return href && h("a." + kind, { href, target: "_blank", rel: "noopener", "data-k": key }, this.#text(key)); }
  #address(url, base = this.getAttribute("app") || "") {
    try { const to = new URL(url, new URL(base, document.baseURI)); return /^https?:$/.test(to.protocol) && to.href; } catch { return null; }
  }

  #home(card) {
    const { checklist, recommendations } = this.#state ?? {};
    if (!this.#state) return h("p.small", null, this.#text(this.#failures ? "offline" : "loading"));
    const parts = [card && this.#cardView(card), checklist && this.#checklist(checklist), recommendations?.length && this.#recommendations(recommendations)].filter(Boolean);
    return parts.length ? parts : h("p.small.nothing", null, this.#text("nothing"));
  }

  #fold(kind, key, open, summary, ...inside) { return h("details." + kind, { "data-k": key, open }, h("summary", { "data-k": key + "·" }, summary), ...inside); }

  #cardView(card) {
    const { kind, title, body, message, reason } = card;
    return h("article.card." + kind, null, this.#mode === "open" && h("p.label", null, this.#text(kind + "_label")), title && h("h3", null, title), h("p", null, body ?? message),
      reason && this.#fold("why", "why", false, this.#text("why"), h("p.small", null, reason)), h("div.acts", null, this.#answers(card)));
  }

  #answers(card) {
    if (card.kind === "celebration") return [this.#outside("act.main", "certificate", card.certificate_url), this.#word("celebrate_close", () => this.#drop(() => { this.#celebration = null; }))];
    if (card.kind === "help") return [this.#act("act.main", this.#text("book_call", card), "book", () => this.#startCall()), this.#word("later", () => this.#drop(() => this.#notice(this.#name({ kind: "no" }))), "act.plain")];
    const { tip } = this.#state, respond = (response, until = null) => { this.#state.tip = null; this.#keep(); return (this.#sending = this.#send("/tips/" + encodeURIComponent(tip.id), { response, until })); };
    const turn = (later) => { this.#later = later; this.#render(); this.#find(later ? "later_day" : "later").focus(); };
    if (this.#later) return [h("p.label", null, this.#text("remind")), ["day", "week", "season"].map((until) => this.#word("later_" + until, () => this.#drop(() => respond("snoozed", until)))), this.#word("back", () => turn(false), "act.plain")];
    return [this.#link("act.main", "do", tip.id, tip.action, () => this.#drop(() => respond("completed"))), this.#word("later", () => turn(true)), this.#word("never", () => this.#drop(() => respond("dismissed")), "act.plain")];
  }

  // Remove a card that has its response. The focus stays near, and the next card waits for the next page.
  #drop(change) {
    this.#notice();
    this.#calm = true;
    const sent = change();
    this.#later = false;
    this.#render();
    (this.#panel.hidden ? this.#button : this.#panel).focus();
    return sent;
  }

  #checklist(list) {
    const first = list.steps.find((step) => !step.done), day = { day: "numeric", month: "short" };
    return h("section.checklist", { "aria-labelledby": "list" },
      h("div.title", null, h("h3", { id: "list" }, list.title), h("span.small", null, this.#text("state_" + list.state))),
      h("progress", { value: list.done, max: list.total, "aria-labelledby": "progress" }), h("p.small", { id: "progress" }, this.#text("progress", list)),
      h("ul", null, list.steps.map((step) => h("li.item", null, this.#fold("more", "step " + step.id, step === first,
        [this.#tick(step.done), h("span.text", null, step.title, !step.done && step.due_on && h("span.small", null, " · " + this.#text("due_on", { day: this.#date(step.due_on, day, "UTC") })))],
        h("ul.inside", null, step.actions.map((one) => h("li.step", null, this.#tick(one.done), h("div", null,
          (!one.done && one.url && this.#link("place", "action " + one.id, one.id, { url: one.url, label: one.title })) || h("span.text", null, one.title),
          !one.done && one.hint && h("p.small", null, one.hint))))))))));
  }
  #tick(done) { return done ? h("span.tick.did", { role: "img", "aria-label": this.#text("step_done") }, "✓") : h("span.tick"); }

  #recommendations(list) {
    return h("section.recommendations", { "aria-labelledby": "next" }, h("h3", { id: "next" }, this.#text("next_steps")),
      h("ul", null, list.map(({ id, title, body, reason, action }) => h("li.item", null, this.#fold("more", "recommendation " + id, false, h("span.text", null, title),
        h("div.inside", null, h("p", null, body), h("p.small", null, reason), h("div.acts", null, this.#link("act", "go " + id, id, action, () => this.#send("/recommendations/" + encodeURIComponent(id) + "/click")))))))));
  }

  async #startCall() {
    this.#notice();
    const call = (this.#call = { topic: "" });
    this.open();
    try { Object.assign(call, await this.#ask("GET", "/slots?days=31")); } catch (error) {
      this.#fail(error);
      call.broken = true;
    }
    if (call === this.#call) this.#render();
  }

  #callView(call) {
    if (call.booked) return this.#bookedView(call.booked);
    if (call.broken) return [h("p", { role: "alert" }, this.#text("error")), this.#word("try_again", () => this.#startCall())];
    if (!call.slots) return h("p.small", { role: "status" }, this.#text("loading"));
    const days = {};
    for (const slot of call.slots) (days[this.#date(slot.starts_at, { weekday: "short", day: "numeric", month: "short" }, call.timezone)] ??= []).push(slot);
    const names = Object.keys(days), shown = days[call.day] ? call.day : names[0];
    return [
      h("p.small", null, this.#text("times_in", { minutes: call.minutes, zone: call.timezone.replace(/_/g, " ") })),
      h("label.small", null, this.#text("call_topic"), h("input", { maxlength: 500, "data-k": "topic", value: call.topic })),
      call.message && h("p", { role: "alert" }, call.message),
      shown ? h("div.days", { role: "group", "aria-label": this.#text("pick_time") }, names.map((day) => this.#act("act.day", day, "day " + day, () => { call.day = day; this.#render(); }, { "aria-pressed": String(day === shown) }))) : h("p", null, this.#text("no_times")),
      shown && h("div.times", { role: "group", "aria-label": shown }, days[shown].map((slot) => this.#act("act.slot", this.#date(slot.starts_at, { timeStyle: "short" }, call.timezone), slot.starts_at, () => this.#book(call, slot.starts_at), { "aria-disabled": call.busy && "true", "aria-busy": call.busy === slot.starts_at && "true" }))),
    ];
  }

  // Book once, however often the button is clicked or the request repeated.
  async #book(call, starts_at) {
    if (call.busy) return;
    Object.assign(call, { busy: starts_at, message: null });
    this.#live.textContent = this.#text("booking");
    this.#render();
    const body = { starts_at, topic: call.topic.trim() || null }, key = (call[JSON.stringify(body)] ??= crypto.getRandomValues(new Uint32Array(4)).join("-"));
    try {
      for (let round = 0; !call.booked; round++) {
        call.booked = await this.#ask("POST", "/calls", { key, body }).catch((error) => { if (round > 4 || error.answer?.code !== "idempotency_in_flight") throw error; });
        if (!call.booked) await wait(1000);
      }
      this.#emit("booked", call.booked);
    } catch (error) {
      const slots = error.answer?.next_free;
      call.message = this.#text(!slots ? "error" : error.status === 409 ? "time_taken" : "time_impossible");
      if (slots) call.slots = slots;
      else this.#fail(error);
    }
    call.busy = null;
    this.#live.textContent = this.#text(call.booked && "booked_title");
    if (call !== this.#call) return;
    this.#render();
    if (call.booked) this.#panel.focus();
  }

  #bookedView({ starts_at, timezone, csm, ics_url, manage_url }) {
    return h("div.card.booked", null, h("h3", null, this.#date(starts_at, { dateStyle: "full", timeStyle: "short" }, timezone)),
      h("p", null, this.#text("booked_body", csm)), h("div.acts", null, this.#outside("act.main", "add_to_calendar", ics_url), this.#outside("act", "change_call", manage_url)));
  }

  #date(at, form, zone) {
    const language = this.#state?.locale ?? "en", asked = this.#locale;
    for (const locale of [asked.startsWith(language) ? asked : language, "en"]) for (const timeZone of [zone, "UTC"])
      try { return new Intl.DateTimeFormat(locale, { ...form, timeZone }).format(new Date(at)); } catch {}
  }

  #celebrate() {
    if (!this.#emit("celebrate", this.#celebration) || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const sky = h("div.sky", { "aria-hidden": "true" }, Array.from({ length: 70 }, () => h("i")));
    this.#layer.append(sky);
    Promise.all([...sky.children].map((bit) => {
      const chance = Math.random, from = 100 * chance(), transform = [`translate(${from}vw, -6vh)`, `translate(${from + 16 * chance() - 8}vw, 104vh) rotate(${900 * chance()}deg)`];
      return bit.animate({ transform, opacity: [1, 1, 0] }, { duration: 2000 + 1800 * chance(), delay: 500 * chance(), fill: "both" }).finished;
    })).finally(() => sky.remove());
  }
}

if (!customElements.get(NAME)) customElements.define(NAME, EverafterCoach);
