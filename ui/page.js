// The page's own few lines: the visitor's choice of light or dark, what else the browser keeps, and the bare form for iframes.
const atelier = {
  places: [], // of the files of the folder chosen last, each in it
  begin() {
    const chosen = atelier.kept("atelier-theme");
    if (chosen && !location.search.includes("__theme=")) document.body.classList.toggle("dark", chosen === "dark");
    if (document.documentElement.classList.contains("embed")) atelier.whole();
  },
  // A frame of another site has no sign-in of its own: the way to the whole page.
  whole() {
    const address = new URL(location), link = document.createElement("a");
    address.searchParams.delete("embed");
    Object.assign(link, { id: "whole", href: address, target: "_blank", rel: "noopener" });
    link.textContent = "Open Atelier itself, to sign in and see all ↗";
    document.querySelector(".gradio-container").append(link);
  },
  // The tab that the address names is the first to be drawn, before the server has been asked anything. Nested tabs
  // have no element id of ours. Where the page was drawn by the server this comes too late, and its answer does it.
  first() {
    const asked = new URLSearchParams(location.search);
    const wanted = asked.get("run") ? "run" : asked.get("tab");
    const parts = window.gradio_config?.components ?? [];
    const tabs = parts.find((one) => one.props.elem_id === "tabs");
    if (tabs && parts.some((one) => one.props.elem_id === `tab-${wanted}`)) tabs.props.selected = wanted;
  },
  theme() {
    const dark = document.body.classList.toggle("dark");
    document.body.style.background = "var(--body-background-fill)";
    atelier.keep("atelier-theme", dark ? "dark" : "light");
  },
  // Which mode of the Text tab is on screen: chat.css hides the panes of the others.
  mode(name) {
    document.documentElement.dataset.mode = name;
  },
  // Small things kept in this browser, where it allows that.
  kept(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  keep(key, text) {
    try {
      localStorage.setItem(key, text);
    } catch {
      // it lasts until the page is closed
    }
  },
  // Hand a text to the visitor as a file.
  download(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  },
};
window.atelier = atelier;
atelier.first();
// Gradio sends the names of a folder's files, not where they lie in it.
document.addEventListener(
  "change",
  ({ target }) => {
    if (target.webkitdirectory) atelier.places = [...target.files].map((file) => file.webkitRelativePath);
  },
  true,
);
if (new URLSearchParams(location.search).get("embed") === "1") document.documentElement.classList.add("embed");
