// System prompts to begin with: the house's, and a visitor's own, kept in this browser; and the draft of Complete.
atelier.presets = (element, house, field, props, trigger) => {
  const KEY = "atelier-presets";
  const list = element.querySelector("select");
  const own = () => JSON.parse(atelier.kept(KEY) || "{}");
  const written = () => document.querySelector(`#${field} textarea, #${field} input`)?.value.trim() || "";
  const fill = (chosen = "") => {
    list.replaceChildren(new Option("choose …", ""), new Option("none", "none"));
    for (const [name, prompts] of [["Yours", own()], ["Atelier's", house]]) {
      const group = document.createElement("optgroup");
      group.label = name;
      group.append(...Object.keys(prompts).map(title => new Option(title, title)));
      if (group.children.length) list.append(group);
    }
    list.value = chosen;
    element.querySelector(".drop").hidden = !(chosen in own());
  };
  list.onchange = () => {
    if (list.value) {
      props.value = list.value === "none" ? "" : (own()[list.value] ?? house[list.value]);
      trigger("select");
    }
    element.querySelector(".drop").hidden = !(list.value in own());
  };
  element.querySelector(".save").onclick = () => {
    const text = written();
    if (!text) return void (list.options[0].textContent = "write one below first");
    const title = text.split(/\s+/).slice(0, 6).join(" ").slice(0, 40);
    atelier.keep(KEY, JSON.stringify({ ...own(), [title]: text }));
    fill(title);
  };
  element.querySelector(".drop").onclick = () => {
    const rest = own();
    delete rest[list.value];
    atelier.keep(KEY, JSON.stringify(rest));
    fill();
  };
  fill();
};

atelier.draft = (props, trigger) => {
  const text = atelier.kept("atelier-draft");
  if (!text) return;
  props.value = text;
  trigger("apply");
};
