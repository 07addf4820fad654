// Draws conversations (ui/conversation.py says what one is) and tells the server what was pressed.
// The server sends each turn once, and while an answer grows only what is new of it.
atelier.chat = (() => {
  const boxes = []; // where each side is drawn
  const blocks = new Map(); // text of an answer → its HTML, drawn by the server
  const chances = new Map(); // "side/turn" → tokens with their probabilities; they live as long as the page
  let doc = null; // {props, trigger, server} of the component that holds the conversation
  let live = { sides: [] }; // answers that are being made
  let tokens = false; // whether probabilities are shown
  let asking = false; // whether the server is drawing answers
  let restored = null; // a conversation that was put before there was a place for it

  const make = (tag, name, text) => {
    const one = document.createElement(tag);
    if (name) one.className = name;
    if (text !== undefined) one.textContent = text;
    return one;
  };
  const value = () => doc?.props.value || { sides: [] };
  const going = side => {
    const one = live.sides[side];
    return one && !one.over ? one : null;
  };
  const busy = () => live.sides.some(one => !one.over);

  function path(side) {
    const below = new Map();
    for (const turn of side.turns) below.set(turn.parent, [...(below.get(turn.parent) || []), turn]);
    const found = [];
    for (let at = 0; below.has(at); at = found.at(-1).turn.id) {
      const versions = below.get(at);
      const turn = versions.find(one => one.id === side.shown[at]) || versions.at(-1);
      found.push({ turn, number: versions.indexOf(turn) + 1, of: versions.length });
    }
    return found;
  }

  function draw(side) {
    const box = boxes[side];
    if (!box) return;
    const held = value().sides[side];
    const way = held ? path(held) : [];
    const follow = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
    const coming = held && held.start > Math.max(0, ...held.turns.map(turn => turn.id));
    const start = coming ? way.length : way.findIndex(({ turn }) => held.start && turn.id === held.start);
    way.forEach((one, place) => {
      const now = going(side)?.turn === one.turn.id ? going(side) : null;
      const text = now ? now.text : one.turn.text;
      const drawn = one.turn.role === "assistant" ? (now ? now.blocks : blocks.get(text)) : undefined;
      const seen = tokens && one.turn.role === "assistant" ? chances.get(`${side}/${one.turn.id}`) : undefined;
      const state = [one.turn.id, one.number, one.of, text, !!drawn, seen?.length, !!now, now?.note, one.turn.note, one.turn.ended, start, place === way.length - 1].join("\u0000");
      let article = box.children[place];
      if (article?.dataset.turn !== String(one.turn.id) || !article.classList.contains(one.turn.role)) {
        const fresh = make("article", `turn ${one.turn.role}`);
        fresh.dataset.turn = one.turn.id;
        fresh.append(make("div", "words"), make("div", "under"));
        fresh.firstChild.classList.add("prose");
        fresh.firstChild.dataset.testid = one.turn.role === "user" ? "user" : "bot";
        article ? article.replaceWith(fresh) : box.append(fresh);
        article = fresh;
      }
      if (article.state === state || article.querySelector("textarea")) return;
      article.state = state;
      article.classList.toggle("unread", place < start);
      article.classList.toggle("failed", one.turn.ended === "error");
      say(article.firstChild, text, drawn, seen, !!now);
      under(article.lastChild, side, one, now, place === way.length - 1);
    });
    while (box.children.length > way.length) box.lastChild.remove();
    if (!way.length) box.append(make("p", "nothing", box.dataset.empty));
    box.classList.toggle("busy", busy());
    if (follow) box.scrollTop = box.scrollHeight;
  }

  // The answer in the making alone, however long the conversation is; false when it is not on screen yet.
  function drawGrowing(side, now) {
    const article = boxes[side]?.lastChild;
    if (article?.dataset?.turn !== String(now.turn) || !article.lastChild.querySelector(".going")) return false;
    const box = boxes[side];
    const follow = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
    article.state = null;
    say(article.firstChild, now.text, now.blocks, tokens ? chances.get(`${side}/${now.turn}`) : undefined, true);
    article.lastChild.firstChild.textContent = now.note;
    if (follow) box.scrollTop = box.scrollHeight;
    return true;
  }

  function say(place, text, drawn, seen, growing) {
    place.classList.toggle("plain", !drawn && !seen);
    if (seen) return spell(place, seen);
    if (!drawn) {
      place.kind = "plain";
      place.textContent = text;
      return;
    }
    if (place.kind !== "blocks") place.replaceChildren();
    place.kind = "blocks";
    drawn.forEach((html, index) => {
      const block = place.children[index] || place.appendChild(make("div"));
      if (block.source !== html) {
        block.innerHTML = html; // by ui/markdown.py: nothing in it can act
        block.source = html;
      }
    });
    while (place.children.length > drawn.length) place.lastChild.remove();
    if (!growing && place.textContent === "" && text) place.textContent = text;
  }

  function spell(place, seen) {
    if (place.kind !== "tokens") place.replaceChildren();
    place.kind = "tokens";
    while (place.children.length > seen.length) place.lastChild.remove();
    for (let index = place.children.length; index < seen.length; index++) {
      const token = place.appendChild(make("span", "token", seen[index].text));
      token.style.setProperty("--p", seen[index].p);
      token.tabIndex = index ? -1 : 0;
      token.chances = seen[index];
      token.setAttribute("aria-label", described(seen[index]));
    }
  }

  const percent = p => (p >= 0.0995 ? `${Math.round(p * 100)} %` : p >= 0.001 ? `${(p * 100).toFixed(1)} %` : "< 0.1 %");
  const visible = text => text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥") || "∅";
  const described = one => `${visible(one.text)} ${percent(one.p)}; ${one.top.map(([text, p]) => `${visible(text)} ${percent(p)}`).join(", ")}`;

  function tell(token) {
    const card = document.getElementById("token-card") || document.body.appendChild(make("div"));
    card.id = "token-card";
    card.hidden = !token;
    if (!token?.chances.top.length) return void (card.hidden = true);
    const rows = token.chances.top.map(([text, p]) => {
      const row = make("div", text === token.chances.text ? "chosen" : "");
      const bar = make("i");
      bar.style.width = `${Math.max(1, p * 100)}px`;
      row.append(make("code", "", visible(text)), bar, make("span", "", percent(p)));
      return row;
    });
    if (!token.chances.top.some(([text]) => text === token.chances.text)) {
      rows.push(make("div", "chosen"));
      rows.at(-1).append(make("code", "", visible(token.chances.text)), make("i"), make("span", "", percent(token.chances.p)));
    }
    card.replaceChildren(...rows);
    const at = token.getBoundingClientRect();
    card.style.left = `${Math.max(4, Math.min(at.left, document.documentElement.clientWidth - card.offsetWidth - 4)) + scrollX}px`;
    card.style.top = `${at.bottom + 4 + scrollY}px`;
  }

  function watchTokens(box) {
    box.addEventListener("pointerover", event => event.target.chances && tell(event.target));
    box.addEventListener("pointerout", event => event.target.chances && !event.target.matches(":focus") && tell(null));
    box.addEventListener("click", event => event.target.chances && event.target.focus());
    box.addEventListener("focusin", event => tell(event.target.chances ? event.target : null));
    box.addEventListener("focusout", () => tell(null));
    box.addEventListener("scroll", () => tell(null), { passive: true });
    box.addEventListener("keydown", event => {
      const step = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
      if (event.target.chances && event.key === "Escape") event.target.blur();
      if (!event.target.chances || !step) return;
      event.preventDefault();
      event.target[step]?.focus();
    });
  }

  function under(place, side, { turn, number, of }, now, last) {
    place.replaceChildren();
    const note = now ? now.note : turn.note;
    if (note) place.append(make("span", "note", note));
    if (now) return place.firstChild?.classList.add("going");
    const act = (name, does, title) => {
      const button = make("button", "", name);
      button.type = "button";
      button.title = title || name;
      button.onclick = does;
      place.append(button);
      return button;
    };
    const ask = (kind, more = {}) => () => !busy() && doc.trigger(kind, { side, turn: turn.id, ...more });
    if (of > 1) {
      act("‹", ask("select", { step: -1 }), "The version before").disabled = number === 1;
      place.append(make("span", "of", `${number}/${of}`));
      act("›", ask("select", { step: 1 }), "The next version").disabled = number === of;
    }
    if (last && turn.role === "assistant" && ["length", "closed", "error"].includes(turn.ended) && turn.text)
      act("Continue", ask("submit"), "Write on where this answer was cut");
    if (turn.role === "assistant") act("Retry", ask("retry"), "Answer again, with the next seed; this version is kept");
    act("Edit", () => !busy() && edit(side, turn), "Change it; this version is kept");
    act("Copy", event => navigator.clipboard?.writeText(turn.text).then(() => (event.target.textContent = "Copied")));
  }

  function edit(side, turn) {
    const article = [...boxes[side].children].find(one => one.dataset.turn === String(turn.id));
    const field = make("textarea");
    const send = make("button", "", turn.role === "user" ? "Send" : "Save");
    const leave = make("button", "", "Cancel");
    send.type = leave.type = "button";
    field.value = turn.text;
    field.rows = Math.min(12, turn.text.split("\n").length + 1);
    field.setAttribute("aria-label", "Edit this turn");
    const done = () => {
      field.remove();
      article.state = null;
      draw(side);
    };
    send.onclick = () => {
      const text = field.value;
      done();
      if (text.trim() !== turn.text.trim()) doc.trigger("edit", { side, turn: turn.id, text });
    };
    leave.onclick = done;
    field.onkeydown = event => {
      if (event.key === "Escape") done();
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        send.click();
      }
    };
    const said = article.firstChild;
    said.kind = "edit";
    said.classList.remove("plain");
    said.replaceChildren(field);
    article.lastChild.replaceChildren(send, leave);
    field.focus();
  }

  async function drawMissing() {
    const missing = value().sides.flatMap(side => path(side).map(({ turn }) => turn)).filter(turn => turn.role === "assistant" && turn.text && !blocks.has(turn.text));
    if (!missing.length || asking || !doc.server) return;
    asking = true;
    const texts = [...new Set(missing.map(turn => turn.text))];
    try {
      const drawn = await doc.server.drawn(texts);
      if (blocks.size > 2000) blocks.clear();
      texts.forEach((text, index) => blocks.set(text, drawn[index]));
    } catch {
      texts.forEach(text => blocks.set(text, undefined)); // the plain text stays
    }
    asking = false;
    drawAll();
    drawMissing();
  }

  const drawAll = () => boxes.forEach((_, side) => draw(side));

  return {
    hold(props, trigger, server, watch) {
      doc = { props, trigger, server };
      watch("value", () => this.changed());
      if (restored) this.put(restored);
      else this.changed();
    },
    changed() {
      drawAll();
      drawMissing();
      atelier.history?.keep();
    },
    view(element, side) {
      const box = (boxes[side] = element.querySelector(".turns"));
      watchTokens(box);
      draw(side);
    },
    // The tokens that were written last on the page of Complete.
    page(element, props, watch) {
      const place = element.querySelector(".written");
      watchTokens(place);
      watch("value", () => {
        if (place.children.length > (props.value || []).length) place.replaceChildren();
        spell(place, props.value || []);
      });
    },
    grow(props, watch) {
      watch("value", () => {
        live = props.value?.sides ? props.value : { sides: [] };
        live.sides.forEach((one, side) => {
          if (one.over) blocks.set(one.text, one.blocks);
          if (one.chances?.length) chances.set(`${side}/${one.turn}`, one.chances);
          if (one.over || !drawGrowing(side, one)) draw(side);
        });
        document.querySelectorAll(".turns").forEach(box => box.classList.toggle("busy", busy()));
        if (busy()) atelier.history?.keep();
      });
    },
    show(shown) {
      tokens = shown;
      boxes.forEach(box => [...box.children].forEach(one => (one.state = null)));
      drawAll();
      return [];
    },
    // The conversation as it is on screen, with what has been said of an answer that is still being made.
    now() {
      const copy = structuredClone(value());
      live.sides.forEach((one, side) => {
        const turn = !one.over && copy.sides[side]?.turns.find(turn => turn.id === one.turn);
        if (turn) Object.assign(turn, { text: one.text, note: one.note, ended: "closed" });
      });
      return copy;
    },
    put(conversation) {
      restored = doc ? null : conversation;
      if (restored) return;
      chances.clear();
      doc.props.value = conversation;
      doc.trigger("apply"); // the server reads its settings
      this.changed();
    },
    // The field in which a message is written: told when somebody rests while typing, and votes by the keys 1 to 4.
    listen() {
      let typing = 0;
      document.addEventListener("input", event => {
        if (!event.target.closest?.("#text-message")) return;
        clearTimeout(typing);
        typing = setTimeout(() => doc.trigger("input"), 400);
      });
      document.addEventListener("keydown", event => {
        if (event.target.closest?.("input, textarea, select, [contenteditable]") || event.ctrlKey || event.metaKey || event.altKey) return;
        const vote = document.querySelectorAll("#text-vote button")["1234".indexOf(event.key)];
        if (vote?.offsetParent) vote.click();
      });
    },
    forget: () => chances.clear(),
    busy,
  };
})();
atelier.chat.listen();
