// Put on the page by test_markdown.py: draws answers, and looks at what is there.
async (base) => {
  const [{ html, render }, { Markdown, prepare }] = await Promise.all([
    import(`${base}lib/dom.js`),
    import(`${base}markdown/markdown.js`),
  ]);
  const main = document.createElement("main");
  const headings = ["h1", "h2"].map((level) => Object.assign(document.createElement(level), { textContent: "IT0" }));
  document.body.replaceChildren(main);
  document.documentElement.id = "stage";

  const TAGS = new Set(
    ("DIV P UL OL LI BLOCKQUOTE HR FIGURE FIGCAPTION PRE CODE SPAN BUTTON svg path TABLE THEAD TBODY TR TH TD"
      + " EM STRONG DEL BR A H3 H4 H5 H6").split(" "));
  const CLASSES = new Set(
    ("markdown long plain-text code-block language code-text scrolling diff-line file added removed place more-code"
      + " hidden-character no-link address task box done to-start to-center to-end size-1 size-2 size-3 size-4"
      + " button plain small round icon").split(" "));
  const ATTRIBUTES = new Set("class dir start scope href target rel title role aria-label tabindex".split(" "));
  const CONTROLS = new Set(["type", "aria-expanded", ...ATTRIBUTES]);
  const DRAWING = new Set("class viewBox width height fill stroke stroke-width stroke-linecap stroke-linejoin"
    .split(" ").concat("aria-hidden", "focusable", "d"));

  const count = { violations: 0, dialogs: 0 };
  document.addEventListener("securitypolicyviolation", () => { count.violations += 1; });
  for (const name of ["alert", "confirm", "prompt", "open", "print"]) window[name] = () => { count.dialogs += 1; };
  const globals = () => Object.keys(window).length;

  const own = new WeakSet([main, ...headings]);

  /** What is on the page that may not be there. */
  function strange(root) {
    const found = [];
    for (const element of root.querySelectorAll("*")) {
      const { tagName } = element;
      if (own.has(element)) continue;
      if (!TAGS.has(tagName)) found.push(`<${tagName}>`);
      const drawing = tagName === "svg" || tagName === "path";
      const allowed = drawing ? DRAWING : tagName === "BUTTON" ? CONTROLS : ATTRIBUTES;
      for (const { name, value } of element.attributes) {
        if (!allowed.has(name)) found.push(`${tagName} ${name}=${value}`);
        if (name === "href" && !/^(?:https?:\/\/[^/]|mailto:)/.test(value)) found.push(`${tagName} leads to ${value}`);
        if (name === "href" && value.startsWith(location.origin)) found.push(`${tagName} leads into the page`);
        if (name === "class") found.push(...value.split(/\s+/).filter((one) => one && !CLASSES.has(one)));
      }
      if (tagName === "A" && (element.target !== "_blank" || element.rel !== "noopener noreferrer")) found.push("a link without rel");
    }
    const others = [...document.body.children].filter((one) => one !== main);
    if (others.length || document.documentElement.id !== "stage") found.push("the page itself was changed");
    if ("__hacked" in window) found.push("executed");
    if (Object.prototype.polluted !== undefined || "x" in {}) found.push("polluted");
    return found;
  }

  /** Every event that a handler could wait for. */
  function poke(root) {
    for (const element of root.querySelectorAll("*")) {
      for (const name of ["mouseover", "focus", "blur", "error", "load", "toggle", "pointerdown", "input"]) {
        element.dispatchEvent(new Event(name, { bubbles: true }));
      }
    }
  }

  // What the layout decides later (whether a part scrolls) is no part of the drawing itself.
  const written = (root) => root.innerHTML.replace(/ (?:tabindex="0"|role="region"|aria-label="(?:Code|Table)[^"]*")/g, "");

  window.stage = {
    count,
    main,
    /** An empty place for one answer: {root, draw, strange}. */
    place() {
      const root = document.createElement("section");
      own.add(root);
      main.append(root);
      return {
        root,
        draw: (text, streaming) => render(html`<${Markdown} text=${text} streaming=${streaming} />`, root),
        end: () => { render(null, root); root.remove(); },
      };
    },
    /** A hostile answer: what is strange while it comes sign by sign, and at once. */
    hostile(text) {
      const before = globals();
      const found = [];
      const step = Math.max(1, Math.floor(text.length / 150));
      const growing = this.place();
      for (let to = 1; to < text.length; to += step) {
        growing.draw(text.slice(0, to), true);
        found.push(...strange(growing.root));
      }
      growing.draw(text, false);
      const whole = this.place();
      whole.draw(text, false);
      for (const { root } of [growing, whole]) {
        found.push(...strange(root));
        poke(root);
      }
      if (written(growing.root) !== written(whole.root)) found.push("drawn otherwise while it came");
      found.push(...strange(main));
      if (globals() !== before) found.push("new names in the window");
      growing.end();
      whole.end();
      return [...new Set(found)];
    },
    /** An answer in pieces: which closed blocks were touched, and whether it ends as drawn at once. */
    pieces(text, cuts) {
      const growing = this.place();
      growing.draw("", true);
      const top = growing.root.firstElementChild;
      const touched = [];
      const observer = new MutationObserver(() => {});
      observer.observe(top, { childList: true, subtree: true, characterData: true, attributes: true });
      for (const to of [...cuts, text.length]) {
        const before = [...top.children];
        observer.takeRecords();
        growing.draw(text.slice(0, to), to < text.length);
        const closed = before.slice(0, -2);
        closed.forEach((one, n) => { if (top.children[n] !== one) touched.push(`block ${n} was replaced`); });
        for (const record of observer.takeRecords()) {
          for (const one of closed) {
            if (one.contains(record.target) || [...record.removedNodes].includes(one)) touched.push(`${record.type} in ${one.tagName}`);
          }
        }
      }
      observer.disconnect();
      const whole = this.place();
      whole.draw(text, false);
      const same = written(growing.root) === written(whole.root);
      growing.end();
      whole.end();
      return { touched: [...new Set(touched)], same };
    },
    strange,
  };
  main.append(...headings);
  prepare();
  const probe = window.stage.place();
  probe.draw("ready", false);
  for (let n = 0; n < 200 && !probe.root.querySelector("p"); n += 1) await new Promise((done) => setTimeout(done, 25));
  probe.end();
};
