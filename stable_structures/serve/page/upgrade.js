/* The upgrade: a module is chosen, rehearsed on the state as it is, and installed only after that. */
class Upgrade {
  constructor(send, done) {
    this.send = send; this.done = done;
    $("upgrade").addEventListener("click", () => this.open());
    for (const id of ["close", "cancel"]) $(id).addEventListener("click", () => $("dialog").close());
    $("module").addEventListener("change", () => this.choose($("module").files[0]));
    $("again").addEventListener("click", () => this.rehearse());
    for (const id of ["skip", "persistence", "calls"]) $(id).addEventListener("change", () => this.rehearse());
    $("upgrade-form").addEventListener("submit", event => { event.preventDefault(); this.install(); });
    const drop = $("drop");
    drop.addEventListener("dragover", event => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", event => { event.preventDefault(); drop.classList.remove("over"); this.choose(event.dataTransfer.files[0]); });
  }

  open() {
    this.module = this.revision = null;
    this.fields = [];
    $("upgrade-form").reset();
    for (const id of ["verdict", "init"]) $(id).replaceChildren();
    put($("drop-text"), "Choose a module, or drop it here");
    this.ready(false);
    $("again").hidden = true;
    $("dialog").showModal();
  }

  ready(can, danger = false) {
    $("install").disabled = !can;
    $("install").className = danger ? "danger" : "primary";
    $("install").textContent = danger ? "Upgrade anyway" : "Upgrade";
  }

  working(text) { this.ready(false); $("verdict").replaceChildren(make("p", { className: "quiet", text })); }

  failed(error) { this.ready(false); $("verdict").replaceChildren(banner("bad", "This does not work", error.message)); }

  async choose(file) {
    if (!file) return;
    this.module = null;
    put($("drop-text"), `${file.name} (${human(file.size)})`);
    this.working("Reading the module…");
    try {
      const module = await this.send("module", { name: file.name, data: await fileBase64(file) });
      this.module = module;
      const forms = new Forms(module.types);
      this.fields = module.arguments.map((one, place) => forms.field(one.type, `Argument ${place + 1} of post_upgrade`));
      $("init").replaceChildren(...this.fields.map(one => one.element));
      $("again").hidden = false;
      await this.rehearse();
    } catch (error) { this.failed(error); }
  }

  request() {
    return { hash: this.module.hash, args: this.fields.length ? this.fields.map(one => one.read()) : null, skipPreUpgrade: $("skip").checked, persistence: $("persistence").value, calls: $("calls").value };
  }

  async rehearse() {
    if (!this.module) return;
    this.working("Rehearsing the upgrade on the state as it is…");
    try {
      this.fields.forEach(one => one.mark(""));
      this.asked = this.request();
      const found = await this.send("rehearse", this.asked);
      if (found.kind === "invalid") {
        $("verdict").replaceChildren(make("p", { className: "quiet", text: "Fill in the argument, then rehearse again." }));
        if (found.path.length) this.fields[found.path[0]].at(found.path.slice(1)).mark(found.message);
        return;
      }
      this.revision = found.revision;
      this.report(found);
    } catch (error) { this.failed(error); }
  }

  report(found) {
    const damaged = found.damage.length > 0, calls = found.calls.filter(one => one.error !== null).length;
    const verdict = found.failure ? banner("bad", "The upgrade fails: nothing would change", found.failure)
      : damaged ? banner("bad", "The upgrade goes through, but the stable memory is damaged afterwards", found.damage[0])
      : found.warnings.length || calls ? banner("warn", "The upgrade goes through, with warnings", "")
      : banner("", "The upgrade goes through", "Rehearsed on the state as it is now; nothing has been changed yet.");
    const list = make("dl", { className: "found" }), used = Object.values(found.instructions).reduce((sum, one) => sum + one, 0);
    const row = (name, text, share) => {
      const value = make("dd", { text });
      if (share !== undefined) { const bar = make("i", { className: share >= 0.8 ? "high" : "" }); bar.style.width = Math.min(100, 100 * share) + "%"; value.append(make("span", { className: "meter", "aria-hidden": "true" }, bar)); }
      list.append(make("dt", { text: name }), value);
    };
    const steps = Object.entries(found.instructions).map(([name, count]) => `${name} ${count.toLocaleString("en")}`).join(", ");
    if (found.counted) row("Instructions", `${used.toLocaleString("en")} of ${found.instruction_limit.toLocaleString("en")} (${percent(used, found.instruction_limit)})${steps ? ": " + steps : ""}`, used / found.instruction_limit);
    row("Stable memory", `${found.stable_pages[0].toLocaleString("en")} → ${found.stable_pages[1].toLocaleString("en")} pages, ${human(found.changed_bytes)} changed`, found.changed_bytes / found.changed_limit);
    if (found.counted) row("Heap", `${human(found.heap_bytes[0])} → ${human(found.heap_bytes[1])}`);
    if (!found.failure) {
      for (const one of found.differences) row(one.memory === null ? "Stable memory" : `Memory ${one.memory}`, `${one.kinds[1] || one.kinds[0]}: ${["added", "removed", "changed"].filter(what => one[what]).map(what => `${one[what].toLocaleString("en")} ${what}`).join(", ") || "other bytes"}`);
      row("Check", damaged ? `${found.damage.length} broken rules` : found.check);
      if (found.candid) row("Candid", found.candid.length ? `${found.candid.length} methods are not compatible` : "callers can go on");
      for (const one of found.calls) row(one.call, one.error === null ? one.answer : `failed: ${one.error}`);
    }
    const warnings = make("ul", { className: "warnings" }, ...found.warnings.map(text => make("li", { text })));
    $("verdict").replaceChildren(verdict, list, ...(found.warnings.length ? [warnings] : []));
    this.ready(!found.failure, damaged || calls > 0);
    if (!found.failure) $("install").focus();
  }

  async install() {
    if (!this.module || !this.revision) return;
    this.ready(false);
    try {
      const found = await this.send("upgrade", { ...this.asked, revision: this.revision });
      if (found.kind !== "answer") { $("verdict").replaceChildren(banner("bad", "The upgrade failed: nothing was changed", found.message)); this.done(found, false); return; }
      $("dialog").close();
      this.done(found, true);
    } catch (error) { this.failed(error); }
  }
}

function banner(name, title, text) { return make("div", { className: "banner " + name }, title, text ? make("p", { text }) : null); }
function percent(used, limit) { const share = 100 * used / limit; return share && share < 0.01 ? "< 0.01 %" : share.toFixed(2) + " %"; }
