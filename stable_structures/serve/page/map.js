/* The live map: one band for each memory, cell after cell, what the last message changed at full colour with a ring. */
const SIDE = 8, MOST_CELLS = 5000, MOST_BANDS = 24, MOST_LINES = 8;
const still = matchMedia("(prefers-reduced-motion: reduce)"), dark = matchMedia("(prefers-color-scheme: dark)");

class LiveMap {
  constructor() { this.bands = []; this.runs = []; this.answer = null; this.model = null; this.pulse = 0; }

  show(answer) {
    this.answer = answer;
    const scene = answer.scene;
    this.model = scene ? readScene(scene) : null;
    this.runs = answer.changes.runs;
    this.build();
    this.tell();
    this.animate();
  }

  /* Whether a byte of the range [begin, end) of addresses changed. */
  isLit(begin, end) {
    let low = 0, high = this.runs.length;
    while (low < high) { const middle = (low + high) >> 1; if (this.runs[middle][1] > begin) high = middle; else low = middle + 1; }
    return low < this.runs.length && this.runs[low][0] < end;
  }

  parts() {
    const { scene } = this.answer, parts = [];
    if (scene.bucketBytes) parts.push({ name: "manager's tables", used: 2080 + 64 * Math.ceil(scene.owners.length / 64), address: offset => offset });
    for (const memory of scene.memories) parts.push({ name: memory.name, used: this.model.usedOf(memory), address: offset => this.model.addressOf(memory, offset), memory });
    return parts.filter(part => part.used > 0);
  }

  build() {
    $("bands").replaceChildren();
    $("legend").replaceChildren();
    this.bands = [];
    if (!this.model) return;
    const parts = this.parts(), total = parts.reduce((sum, part) => sum + part.used, 0);
    let cell = 16;
    while (total / cell > MOST_CELLS) cell *= 2;
    this.cell = cell;
    for (const part of parts.slice(0, MOST_BANDS)) {
      const canvas = make("canvas", { role: "img" });
      const caption = make("figcaption", {}, make("span", { text: part.name }), make("span", { text: human(part.used) + " in use" }));
      $("bands").append(make("figure", { className: "band" }, caption, canvas));
      const band = { ...part, canvas, cells: Math.ceil(part.used / cell) };
      canvas.addEventListener("pointermove", event => this.point(band, event));
      canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; });
      this.bands.push(band);
    }
    if (parts.length > MOST_BANDS) $("bands").append(make("p", { className: "quiet", text: `and ${parts.length - MOST_BANDS} more memories` }));
    const reserved = new Set([OUTSIDE, UNUSED]);
    for (const what of this.answer.scene.present) if (!reserved.has(what)) {
      const box = make("i");
      box.style.background = `rgb(${this.colour(what)})`;
      $("legend").append(make("span", {}, box, this.answer.scene.names[what]));
    }
    $("legend").append(make("span", {}, make("i", { className: "lit" }), "changed by the last message"));
  }

  colour(what) {
    const [r, g, b] = this.model.colours[what];
    if (dark.matches && what === TABLE) return [129, 120, 235];
    return dark.matches && (what === UNUSED || what === OUTSIDE) ? [48, 48, 56] : [r, g, b];
  }

  animate() {
    cancelAnimationFrame(this.frame);
    const begun = performance.now();
    const step = () => {
      this.pulse = still.matches || !this.runs.length ? 0 : Math.max(0, 1 - (performance.now() - begun) / 1100);
      this.draw();
      if (this.pulse > 0) this.frame = requestAnimationFrame(step);
    };
    step();
  }

  draw() {
    const any = this.runs.length > 0;
    for (const band of this.bands) {
      const width = band.canvas.clientWidth || 300, scale = devicePixelRatio || 1;
      band.columns = Math.max(1, Math.floor(width / SIDE));
      const rows = Math.ceil(band.cells / band.columns);
      band.canvas.style.height = rows * SIDE + "px";
      band.canvas.width = width * scale; band.canvas.height = rows * SIDE * scale;
      const context = band.canvas.getContext("2d");
      context.scale(scale, scale);
      let lit = 0;
      for (let i = 0; i < band.cells; i++) lit += this.drawCell(context, band, i, any);
      band.canvas.setAttribute("aria-label", `${band.name}: ${human(band.used)} in use, ${lit ? lit + " cells of " + human(this.cell) + " changed" : "nothing changed"}`);
    }
  }

  drawCell(context, band, i, any) {
    const address = band.address(i * this.cell), x = i % band.columns * SIDE, y = Math.floor(i / band.columns) * SIDE;
    if (address === undefined) return 0;
    const lit = any && this.isLit(address, address + this.cell);
    context.globalAlpha = lit || !any ? 1 : dark.matches ? 0.42 : 0.4;
    context.fillStyle = `rgb(${this.colour(pickWhat(this.model, address, this.cell))})`;
    context.fillRect(x, y, SIDE - 1, SIDE - 1);
    if (lit) {
      context.globalAlpha = 1;
      context.strokeStyle = dark.matches ? "#fff" : "#111";
      context.lineWidth = 1.5 + 2 * this.pulse;
      context.strokeRect(x + 0.25, y + 0.25, SIDE - 1.5, SIDE - 1.5);
      if (this.pulse) { context.globalAlpha = 0.7 * this.pulse; context.fillStyle = "#fff7b0"; context.fillRect(x, y, SIDE - 1, SIDE - 1); }
    }
    return lit ? 1 : 0;
  }

  point(band, event) {
    const box = band.canvas.getBoundingClientRect();
    const i = Math.floor((event.clientY - box.top) / SIDE) * band.columns + Math.floor((event.clientX - box.left) / SIDE);
    const address = i < band.cells ? band.address(i * this.cell) : undefined, tip = $("tip");
    tip.hidden = address === undefined;
    if (tip.hidden) return;
    tip.replaceChildren(...this.model.describe(address).map(([name, text]) => make("div", { text: `${name}: ${text}` })));
    tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
  }

  /* The changes in words. */
  tell() {
    const { nbytes, changes, scene } = this.answer, lines = new Map();
    $("memory-text").textContent = !nbytes ? "None yet: what this canister keeps is on its heap." : scene ? `${scene.title}, ${human(nbytes)} reserved` : `${human(nbytes)}: not drawn by itself, because that takes a while.`;
    $("draw").hidden = !nbytes || !!scene;
    $("picture").hidden = !nbytes;
    if (scene) for (const [begin, end] of this.runs) {
      const found = Object.fromEntries(this.model.describe(Math.max(begin, 0)));
      const name = found.owner + (found.content && found.content !== found.owner ? ": " + found.content : "");
      lines.set(name, (lines.get(name) || 0) + end - begin);
      if (lines.size > 200) break;
    }
    const shown = [...lines].slice(0, MOST_LINES).map(([name]) => make("li", { text: name }));
    if (lines.size > MOST_LINES) shown.push(make("li", { className: "quiet", text: `and ${lines.size - MOST_LINES} more places` }));
    $("changed").replaceChildren(...shown);
    $("changed-title").hidden = !this.runs.length;
    put($("changed-title"), `Changed by the last message: ${changes.bytes.toLocaleString("en")} byte${changes.bytes === 1 ? "" : "s"}`);
  }

  /* A message that changed nothing turns the lights off. */
  darken() {
    if (!this.answer) return;
    this.runs = [];
    this.answer.changes = { runs: [], cell: 16, bytes: 0 };
    this.tell();
    this.animate();
  }
}

/* What a cell is: the greatest of a few points, so that what is rare is seen. */
function pickWhat(model, address, cell) {
  let most = 0;
  for (let i = 0; i < cell; i += Math.max(16, cell / 4)) most = Math.max(most, model.at(address + i).what);
  return most;
}
