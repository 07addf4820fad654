// Completion in the SQL editor: names of columns and functions, chosen with the arrows and Enter or Tab.
// `element` holds [data-words]; the editor is found when it is typed in, for it may be made later than this.
const editor = target => target?.closest?.("#data-statement .cm-content");
const list = Object.assign(document.createElement("ul"), {className: "complete", hidden: true});
list.setAttribute("role", "listbox");
document.body.append(list);
let view = null, found = [], chosen = 0, start = 0, end = 0;

function close() { list.hidden = true; found = []; }

function look(content) {
  view = content.cmTile?.root?.view ?? content.cmTile?.view ?? content.cmView?.rootView?.view ?? null;
  if (!view) return close();
  end = view.state.selection.main.head;
  const before = view.state.doc.sliceString(Math.max(0, end - 100), end);
  const word = before.match(/"?[\p{L}\p{N}_]*$/u)[0];
  start = end - word.length;
  const bare = word.replace('"', "").toLowerCase();
  if (!bare) return close();
  const words = JSON.parse(element.querySelector("[data-words]")?.dataset.words ?? "[]");
  found = words.filter(one => one.toLowerCase().startsWith(bare) && one.toLowerCase() !== bare).slice(0, 8);
  if (!found.length) return close();
  chosen = 0;
  const place = view.coordsAtPos(end);
  list.style.left = `${Math.min(place.left, innerWidth - 180)}px`;
  list.style.top = `${place.bottom + 2}px`;
  list.hidden = false;
  draw();
}

function draw() {
  list.replaceChildren(...found.map((word, i) => {
    const line = Object.assign(document.createElement("li"), {textContent: word});
    line.setAttribute("role", "option");
    line.setAttribute("aria-selected", String(i === chosen));
    line.addEventListener("mousedown", event => { event.preventDefault(); chosen = i; put(); });
    return line;
  }));
}

function put() {
  const word = found[chosen];
  const insert = /^[a-z_][a-z0-9_]*(\($)?$/i.test(word.replace("(", "")) ? word : `"${word.replaceAll('"', '""')}"`;
  view.dispatch({changes: {from: start, to: end, insert}, selection: {anchor: start + insert.length}});
  view.focus();
  close();
}

document.addEventListener("keydown", event => {
  if (!editor(event.target)) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    event.stopImmediatePropagation();
    close();
    // what was typed reaches the server a moment after the key
    setTimeout(() => document.querySelector("#data-sql-run")?.click(), 150);
  } else if (!list.hidden && ["ArrowDown", "ArrowUp", "Enter", "Tab", "Escape"].includes(event.key)) {
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.key === "Escape") close();
    else if (event.key.startsWith("Arrow")) {
      chosen = (chosen + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length;
      draw();
    } else put();
  }
}, true);
document.addEventListener("keyup", event => {
  const content = editor(event.target);
  if (content && (event.key.length === 1 || event.key === "Backspace")) look(content);
}, true);
document.addEventListener("focusout", event => { if (editor(event.target)) close(); });
