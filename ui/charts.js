// Tells the values under the pointer; `js_on_load` of the HTML that holds pictures of ui/charts.py.
const leave = but => element.querySelectorAll("figure.chart.at").forEach(one => one !== but && one.classList.remove("at"));
element.addEventListener("pointermove", event => {
  const picture = event.target.closest("figure.chart"), svg = picture?.querySelector("svg");
  leave(picture);
  if (!svg) return;
  const box = svg.getBoundingClientRect(), {width, height} = svg.viewBox.baseVal;
  const [x0, x1, y0, y1] = svg.dataset.field.split(" ").map(Number);
  const x = (event.clientX - box.left) / box.width * width, said = [];
  let step = null;
  for (const path of svg.querySelectorAll("path[data-name]")) {
    let near = null;
    for (const [, px, py] of path.getAttribute("d").matchAll(/[ML](\d+),(\d+)/g))
      if (near === null || Math.abs(px - x) < Math.abs(near[0] - x)) near = [+px, +py];
    if (!near) continue;
    step = Math.round(x0 + (x1 - x0) * near[0] / width);
    const value = Number((y1 + (y0 - y1) * near[1] / height).toPrecision(3));
    said.push(path.dataset.name ? `${path.dataset.name} ${value}` : value);
  }
  if (step === null) return;
  picture.classList.add("at");
  picture.querySelector(".pointed").textContent = `step ${step} · ${said.join(" · ")}`;
});
element.addEventListener("pointerleave", () => leave(null));
// What a visitor has opened stays open when new values are drawn.
let open = false;
element.addEventListener("toggle", event => { open = event.target.open; }, true);
watch("value", () => element.querySelectorAll("details").forEach(one => { one.open = open; }));
