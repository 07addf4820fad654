// Past conversations, kept in this browser alone: one entry of localStorage each, none of them ever a secret.
atelier.history = (() => {
  const PREFIX = "atelier-chat-";
  const OPEN = "atelier-open-chat"; // of this tab: which one is on screen
  let panel = null; // {element, props, trigger, server}
  let id = ""; // of the conversation on screen
  let stamp = 0; // when this tab last saw it kept: another tab may have it open, too
  let waiting = 0;
  let removed = null; // for Undo
  let problem = "";
  let unkept = null; // the one on screen, while there is no room for it

  // A browser may refuse storage altogether, or be full: that is said, and nothing else changes.
  function attempt(work, otherwise) {
    try {
      const result = work();
      problem = "";
      return result;
    } catch (error) {
      problem =
        error.name === "QuotaExceededError"
          ? "This browser has no more room for conversations: export or delete some. The one on screen is not kept yet."
          : "This browser keeps no conversations: they last until the page is closed. Export them to a file.";
      return otherwise;
    }
  }
  const read = key => attempt(() => JSON.parse(localStorage.getItem(key)), null);
  const all = () =>
    attempt(() => Object.keys(localStorage).filter(key => key.startsWith(PREFIX)).map(read).filter(Boolean), [])
      .sort((a, b) => b.updated - a.updated);
  const fresh = () => Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  const titled = one => {
    const first = one.sides[0]?.turns.find(turn => turn.role === "user")?.text.trim().replace(/\s+/g, " ") || "Untitled";
    return one.title || (first.length > 60 ? `${first.slice(0, 60)}…` : first);
  };
  const store = one => attempt(() => (localStorage.setItem(PREFIX + one.id, JSON.stringify(one)), true), false);

  function save() {
    clearTimeout(waiting);
    waiting = 0;
    const one = atelier.chat.now();
    if (!one.sides.some(side => side.turns.length)) return;
    if (!id) id = fresh();
    const held = read(PREFIX + id);
    if (held && held.updated > stamp) id = fresh(); // somebody else went on with it: both are kept
    else one.title = held?.title || one.title;
    stamp = Date.now();
    const now = { ...one, id, updated: stamp };
    unkept = store(now) ? null : now;
    notice();
    attempt(() => sessionStorage.setItem(OPEN, id));
    if (panel && !panel.element.hidden && !atelier.chat.busy()) list();
  }

  function open(one) {
    if (atelier.chat.busy()) return;
    if (waiting) save();
    id = one.id;
    stamp = one.updated;
    attempt(() => sessionStorage.setItem(OPEN, id));
    atelier.chat.put(one);
    list();
  }

  const make = (tag, name, text, does) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text) made.textContent = text;
    if (does) made.onclick = does;
    if (tag === "button") made.type = "button";
    return made;
  };

  function list() {
    if (!panel) return;
    const words = panel.element.querySelector("input[type=search]").value.toLowerCase();
    const found = all().filter(one => !words || JSON.stringify([one.title, one.sides.map(side => side.turns.map(turn => turn.text))]).toLowerCase().includes(words));
    const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
    const rows = found.map(one => {
      const row = make("li", one.id === id ? "on" : "");
      const name = make("button", "name", titled(one), () => open(one));
      const renamed = make("button", "", "Rename", () => rename(row, one));
      const file = make("button", "", "Export", () => exported([one], titled(one)));
      const gone = make("button", "", "Delete", () => drop(one));
      row.append(name, make("span", "when", when.format(one.updated)), renamed, file, gone);
      return row;
    });
    panel.element.querySelector("ul").replaceChildren(...rows);
    const said = panel.element.querySelector(".told");
    const none = words ? "No conversation has these words." : "Conversations you have are kept here, in this browser alone.";
    said.replaceChildren(problem || (found.length ? "" : none));
    if (removed && !problem) said.replaceChildren(`“${titled(removed)}” was deleted. `, make("button", "", "Undo", restore));
  }

  function rename(row, one) {
    const field = make("input");
    field.value = titled(one);
    field.setAttribute("aria-label", "Title");
    const done = () => {
      const held = read(PREFIX + one.id);
      if (held && field.value.trim()) store({ ...held, title: field.value.trim().slice(0, 200) });
      list();
    };
    field.onkeydown = event => (event.key === "Enter" ? done() : event.key === "Escape" ? list() : null);
    field.onblur = done;
    row.firstChild.replaceWith(field);
    field.focus();
    field.select();
  }

  function drop(one) {
    removed = one;
    attempt(() => localStorage.removeItem(PREFIX + one.id));
    if (one.id === id) begin();
    list();
  }

  function restore() {
    store(removed);
    removed = null;
    list();
  }

  function begin() {
    id = "";
    stamp = 0;
    attempt(() => sessionStorage.removeItem(OPEN));
  }

  async function exported(conversations, name) {
    const text = await panel.server.written(conversations);
    atelier.download(`${name.replace(/[^\p{L}\p{N} _-]/gu, "").trim().slice(0, 60) || "conversations"}.jsonl`, text);
  }

  function notice() {
    const said = document.getElementById("text-kept");
    if (said) said.textContent = problem;
  }

  return {
    hold(element, props, trigger, server, watch) {
      panel = { element: element.querySelector(".history"), props, trigger, server };
      const root = panel.element;
      root.querySelector("input[type=search]").oninput = list;
      root.querySelector(".export").onclick = () => exported([...(unkept ? [unkept] : []), ...all().filter(one => one.id !== unkept?.id)], "conversations");
      root.querySelector("input[type=file]").onchange = async event => {
        const [file] = event.target.files;
        if (file) props.value = { name: file.name, text: await file.text() };
        event.target.value = "";
        if (file) trigger("submit");
      };
      root.querySelector(".import").onclick = () => root.querySelector("input[type=file]").click();
      watch("value", () => {
        const read = props.value?.read;
        if (!read) return;
        const taken = read.map((one, place) => ({ ...one, id: fresh() + place, updated: Date.now() - place })).filter(store);
        list();
        if (taken.length === read.length) root.querySelector(".told").textContent = `${taken.length} ${taken.length === 1 ? "conversation was" : "conversations were"} added.`;
        props.value = {};
      });
      addEventListener("pagehide", () => waiting && save());
      document.addEventListener("visibilitychange", () => document.hidden && waiting && save());
      list();
      const last = attempt(() => sessionStorage.getItem(OPEN), "");
      const one = last && read(PREFIX + last);
      if (one) open(one);
    },
    toggle() {
      panel.element.hidden = !panel.element.hidden;
      if (!panel.element.hidden) {
        list();
        panel.element.querySelector("input[type=search]").focus();
      }
    },
    keep() {
      waiting ||= setTimeout(save, atelier.chat.busy() ? 3000 : 500);
    },
    begin() {
      if (waiting) save();
      begin();
      atelier.chat.forget();
    },
  };
})();
