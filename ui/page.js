// The page's own few lines: the visitor's choice of light or dark, kept in this browser, and the bare form for iframes.
const atelier = {
  begin() {
    const chosen = localStorage.getItem("atelier-theme");
    if (chosen && !location.search.includes("__theme=")) document.body.classList.toggle("dark", chosen === "dark");
  },
  theme() {
    const dark = document.body.classList.toggle("dark");
    document.body.style.background = "var(--body-background-fill)";
    localStorage.setItem("atelier-theme", dark ? "dark" : "light");
  },
};
window.atelier = atelier;
if (new URLSearchParams(location.search).get("embed") === "1") document.documentElement.classList.add("embed");
