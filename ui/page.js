// The page's own few lines: the visitor's choice of light or dark, what else the browser keeps, and the bare form for iframes.
const atelier = {
  begin() {
    const chosen = atelier.kept("atelier-theme");
    if (chosen && !location.search.includes("__theme=")) document.body.classList.toggle("dark", chosen === "dark");
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
if (new URLSearchParams(location.search).get("embed") === "1") document.documentElement.classList.add("embed");
