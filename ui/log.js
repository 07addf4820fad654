// The log pane; `js_on_load` of its HTML. A value {from, lines, fresh} holds only lines that the page lacks: it is
// appended, filtered by level and words, and followed while "Follow" is on. Asks for all of it when some were missed.
const KEPT = 2000, pane = element.querySelector(".log"), words = element.querySelector("input[type=search]");
const level = element.querySelector("select"), follow = element.querySelector("input[type=checkbox]");
const many = element.querySelector(".many"), clock = new Intl.DateTimeFormat(undefined, {timeStyle: "medium"});
const LEVELS = {all: null, told: ["info", "mark", "warning", "error"], trouble: ["warning", "error"]};
let have = null;

function fits(line) {
  const levels = LEVELS[level.value];
  return (!levels || levels.includes(line.dataset.level)) && line.textContent.toLowerCase().includes(words.value.toLowerCase());
}
function count() {
  const lines = [...pane.children], shown = lines.filter(line => !line.hidden).length;
  const before = have === null ? 0 : have - lines.length;
  many.textContent = shown < lines.length ? `${shown.toLocaleString()} of ${lines.length.toLocaleString()} lines`
    : before > 0 ? `${before.toLocaleString()} earlier lines are in the full log`
    : lines.length ? "" : "Nothing is written yet.";
  if (follow.checked) pane.scrollTop = pane.scrollHeight;
}
function filter() {
  for (const line of pane.children) line.hidden = !fits(line);
  count();
}
function drawn([at, kind, text]) {
  const line = document.createElement("div"), time = document.createElement("span");
  line.className = `line line-${kind}`;
  line.dataset.level = kind;
  time.className = "at";
  time.title = new Date(at).toLocaleString();
  time.textContent = clock.format(new Date(at));
  line.append(time, " ");
  if (kind === "error" || kind === "warning") line.append(Object.assign(document.createElement("b"), {textContent: kind + " "}));
  line.append(text);
  line.hidden = !fits(line);
  return line;
}
function take() {
  const sent = props.value;
  if (!sent?.lines) return;
  if (sent.fresh) pane.replaceChildren();
  else if (have === null || sent.from > have) return trigger("missed");
  const fresh = sent.fresh ? sent.lines : sent.lines.slice(have - sent.from);
  have = Math.max(sent.from + sent.lines.length, sent.fresh ? 0 : have);
  pane.append(...fresh.map(drawn));
  while (pane.children.length > KEPT) pane.firstChild.remove();
  count();
}
words.addEventListener("input", filter);
level.addEventListener("change", filter);
follow.addEventListener("change", count);
pane.addEventListener("wheel", () => setTimeout(() => {
  follow.checked = pane.scrollTop + pane.clientHeight > pane.scrollHeight - 8;
}, 60), {passive: true});
watch("value", take);
take();
