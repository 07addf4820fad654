async () => {
  const plots = [...document.querySelectorAll("#evaluate-pictures figure")].filter(one => one.querySelector("svg.plot"));
  if (!plots.length) return;
  const page = getComputedStyle(document.body), scale = 2, wide = 680;
  const parts = [];
  for (const one of plots) {
    const svg = one.querySelector("svg.plot"), copy = svg.cloneNode(true);
    const theirs = svg.querySelectorAll("*"), ours = copy.querySelectorAll("*");
    theirs.forEach((node, i) => {
      const style = getComputedStyle(node);
      for (const name of ["fill", "stroke", "stroke-width", "fill-opacity", "stroke-opacity"])
        ours[i].setAttribute(name, style.getPropertyValue(name));
    });
    const box = svg.viewBox.baseVal;
    copy.setAttribute("width", box.width * scale); copy.setAttribute("height", box.height * scale);
    const image = new Image();
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(copy));
    await image.decode();
    parts.push({image, title: one.querySelector("figcaption").textContent, box});
  }
  const canvas = document.createElement("canvas");
  canvas.width = wide * scale;
  canvas.height = scale * parts.reduce((sum, one) => sum + one.box.height + 56, 16);
  const to = canvas.getContext("2d");
  to.fillStyle = page.getPropertyValue("--body-background-fill").trim() || page.backgroundColor;
  to.fillRect(0, 0, canvas.width, canvas.height);
  let y = 16;
  for (const one of parts) {
    to.fillStyle = page.color;
    to.font = `600 ${15 * scale}px system-ui, sans-serif`;
    to.fillText(one.title, 20 * scale, (y + 18) * scale);
    to.drawImage(one.image, 20 * scale, (y + 32) * scale, one.box.width * scale, one.box.height * scale);
    y += one.box.height + 56;
  }
  const link = document.createElement("a");
  link.download = "evaluations.png";
  link.href = canvas.toDataURL("image/png");
  link.click();
}
