/* The page: it asks the server for the canister's state, and shows what came of each message. */
const token = new URLSearchParams(location.search).get("token") || "";
const map = new LiveMap();
let state = null, cards = new Map(), running = 0, logsBefore = null;

async function ask(method, name, body) {
  let answer;
  try { answer = await fetch("/api/" + name, { method, headers: { Authorization: "Bearer " + token, ...(body ? { "Content-Type": "application/json" } : {}) }, body: body && JSON.stringify(body), cache: "no-store" }); }
  catch { throw new Error("The server does not answer. Is `stable-structures canister serve` still running?"); }
  const text = await answer.text();
  let found;
  try { found = JSON.parse(text); } catch { throw new Error(text || `The server answered with status ${answer.status}.`); }
  if (!answer.ok) throw new Error(found.error);
  return found;
}

/* As `ask`, and says that something is under way: a canister may use its instructions for a minute. */
async function send(name, body, text = "working") {
  running++;
  const begun = performance.now(), timer = setInterval(() => { $("busy").hidden = false; $("busy-text").textContent = `${text}, ${((performance.now() - begun) / 1000).toFixed(0)} s`; }, 400);
  try { return await ask("POST", name, body); }
  finally { clearInterval(timer); if (!--running) $("busy").hidden = true; }
}

function notice(text, calm = false) { $("notice").hidden = !text; $("notice").className = calm ? "calm" : ""; put($("notice"), text || ""); }

/* ---- what the canister is ---- */

function showState(next, fresh = true) {
  const interfaceOf = one => one && JSON.stringify([one.methods, one.types]);
  const rebuild = interfaceOf(state) !== interfaceOf(next);
  state = next;
  document.title = `${next.name} · canister`;
  put($("name"), next.name);
  $("status").textContent = next.status;
  $("status").className = "pill " + next.status;
  $("stop").textContent = next.status === "running" ? "Stop" : "Start";
  $("picture").href = "/picture?token=" + encodeURIComponent(token);
  showFacts(next);
  showLogs(next, fresh);
  if (rebuild) showMethods(next);
}

function showFacts(next) {
  const facts = [["Canister id", next.id, "mono"], ["Version", next.version.toLocaleString("en")], ["Cycles", BigInt(next.cycles).toLocaleString("en")], ["Stable memory", next.stable ? human(next.stable) : "none"]];
  if (next.heap !== null) facts.push(["Heap", human(next.heap)]);
  facts.push([next.hash ? "Module" : "Source", next.hash ? next.hash.slice(0, 12) + "…" : next.language, next.hash ? "mono" : ""]);
  $("facts").replaceChildren(...facts.map(([name, text, style]) => make("div", {}, make("dt", { text: name }), make("dd", { text, className: style || "" }))));
}

function showLogs(next, fresh) {
  const count = next.logCount, added = fresh && logsBefore !== null ? Math.max(0, count - logsBefore) : 0;
  logsBefore = count;
  $("log-count").textContent = count ? count.toLocaleString("en") : "";
  const first = next.logs.length - added;
  $("logs").replaceChildren(...(next.logs.length ? next.logs.map((text, place) => make("li", { text, className: (place >= first ? "new " : "") + (text.includes("[TRAP]") ? "trap" : "") })) : [make("li", { className: "quiet", text: "Nothing yet. What the canister prints, and its traps, are shown here." })]));
  $("logs").scrollTop = $("logs").scrollHeight;
}

/* ---- methods ---- */

function showMethods(next) {
  const forms = new Forms(next.types), few = next.methods.length <= 12;
  cards = new Map();
  $("filter").hidden = few;
  $("cards").replaceChildren(...next.methods.map(method => card(method, forms, few)));
  if (!next.methods.length) $("cards").append(make("p", { className: "quiet", text: "The canister exports no methods." }));
}

function card(method, forms, open) {
  const query = method.kind !== "update", title = make("h3", {}, make("span", { text: method.name }), make("span", { className: "kind " + (query ? "" : "update"), text: method.kind }));
  const fields = method.arguments.map((one, place) => forms.field(one.type, one.name || (method.arguments.length === 1 ? "argument" : `argument ${place + 1}`), 0, one.required));
  const buttons = (query ? [["Query", true, "primary"], ["Call", false, ""]] : [["Call", false, "primary"]]).map(([text, asQuery, style]) => {
    const button = make("button", { type: "button", className: style, text, "aria-label": `${text} ${method.name}` });
    button.addEventListener("click", () => run(made, asQuery));
    return button;
  });
  const area = make("div", { className: "fields" }, ...fields.map(one => one.element)), result = make("div", { "aria-live": "polite" });
  const head = make("div", { className: "head" }, title, make("div", { className: "signature", text: method.text }), make("div", { className: "go" }, ...buttons));
  const element = make("section", { className: "card" }, head, method.comment ? make("p", { className: "comment", text: method.comment }) : null);
  element.setAttribute("aria-label", "Method " + method.name);
  element.dataset.method = method.name;
  if (fields.length) element.append(open || fields.length === 0 ? area : make("details", {}, make("summary", { text: `${fields.length} argument${fields.length > 1 ? "s" : ""}` }), area));
  element.append(result);
  area.addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey || event.target.tagName === "INPUT" && event.target.type !== "checkbox")) { event.preventDefault(); buttons[0].click(); } });
  const made = { method, fields, result, buttons, element };
  cards.set(method.name, made);
  return element;
}

/* Messages run in the order of their clicks; none is lost, however fast they come. */
let line = Promise.resolve(), waiting = 0;
function run(card, query) {
  card.fields.forEach(one => one.mark(""));
  const body = { method: card.method.name, query, args: card.fields.map(one => one.read()), caller: $("caller").value, cycles: $("cycles").value };
  waiting++;
  line = line.then(() => runNow(card, body));
}

async function runNow(card, body) {
  waiting--;
  try {
    const found = await send("call", body, card.method.name);
    if (found.kind === "invalid") {
      if (found.path.length) { card.element.querySelector("details")?.setAttribute("open", ""); card.fields[found.path[0]].at(found.path.slice(1)).mark(found.message.replace(/^argument \d+: /, "")); }
      else showResult(card, found);
      return;
    }
    showResult(card, found);
    notice("");
    const before = state.revision;
    showState(found.state);
    if (found.state.revision === before) map.darken();
  } catch (error) { showResult(card, { kind: "error", message: error.message }); }
  finally { if (!waiting && state.revision !== map.answer?.revision) showMap(); }  // once, after the last of those that wait
}

const TITLES = { answer: "Answer", trap: "Trapped", reject: "Rejected by the canister", refused: "Refused", error: "Error", invalid: "Not sent" };

function showResult(card, found) {
  const good = found.kind === "answer", box = make("div", { className: "result fresh " + (good ? "" : "bad") });
  box.append(make("div", { className: "title", text: TITLES[found.kind] + (found.code ? " · " + found.code : "") }));
  const text = make("pre", { tabIndex: 0, role: "group", "aria-label": TITLES[found.kind] });
  if (good) showAnswer(text, found.text);
  else put(text, found.message);
  box.append(text);
  if (good && found.length > FIRST) box.append(more(text, found));
  if (found.kind === "trap" && !found.query) box.append(make("p", { className: "quiet", text: "Everything this message changed has been undone." }));
  box.append(meta(card, found));
  const printed = (found.logs || []).filter(text => !text.startsWith("[TRAP]"));  // the trap is shown already
  if (printed.length) box.append(make("div", { className: "quiet", text: "Printed" }), make("pre", { text: printed.join("\n"), "aria-label": "What it printed", tabIndex: 0, role: "group" }));
  card.result.replaceChildren(box);
}

function more(text, found) {
  const left = found.length - FIRST, button = make("button", { type: "button", className: "small", text: `Show all (${left.toLocaleString("en")} more characters)` });
  button.addEventListener("click", () => {
    text.replaceChildren(); add(text, found.text);
    if (found.length > found.text.length) add(text, `… (${(found.length - found.text.length).toLocaleString("en")} more characters are not shown)`);
    button.remove();
  });
  return button;
}

function meta(card, found) {
  const facts = [];
  if (found.instructions !== null && found.instructions !== undefined) facts.push(`${found.instructions.toLocaleString("en")} instructions (${percent(found.instructions, found.limit)} of the limit)`);
  if (found.ms !== undefined) facts.push(`${found.ms.toLocaleString("en")} ms`);
  if (found.cycles && found.cycles !== "0") facts.push(`${BigInt(found.cycles) > 0n ? "+" : ""}${BigInt(found.cycles).toLocaleString("en")} cycles`);
  const line = make("div", { className: "meta" }, ...facts.map(text => make("span", { text })));
  if (typeof found.arguments === "string" && navigator.clipboard) {
    const quote = one => "'" + one.replaceAll("'", "'\\''") + "'";
    const copy = make("button", { type: "button", className: "plain small", text: "Copy as a command", "aria-label": `Copy the call of ${card.method.name} as a shell command` });
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(["stable-structures canister", found.query ? "query" : "call", quote(state.folder), quote(card.method.name), quote(found.arguments)].join(" "));
      copy.textContent = "Copied";
    });
    line.append(copy);
  }
  return line;
}

/* ---- the rest ---- */

let mapNumber = 0;
async function showMap(large = false) {
  const number = ++mapNumber;
  try {
    const answer = await ask("POST", "map", { large });
    if (number === mapNumber) map.show(answer);  // else a later one is under way
  } catch (error) { put($("memory-text"), error.message); }
}

async function refresh() { showState(await ask("GET", "state")); await showMap(); }

/* Somebody else may change the canister, in a shell or on another page. */
async function watch() {
  if (document.hidden || running || !state) return;
  try {
    const { revision } = await ask("GET", "revision");
    if (!running && revision !== state.revision) { await refresh(); notice("The canister was changed from outside this page; what you see is its state now.", true); }
    else if ($("notice").dataset.lost) { delete $("notice").dataset.lost; notice(""); }
  } catch (error) { notice(error.message); $("notice").dataset.lost = "yes"; }
}

$("stop").addEventListener("click", async () => {
  try { const found = await send("status", { action: state.status === "running" ? "stop" : "start" }); showState(found.state); notice(""); map.darken(); await showMap(); }
  catch (error) { notice(error.message); }
});
$("filter").addEventListener("input", () => { const wanted = $("filter").value.toLowerCase(); for (const [name, one] of cards) one.element.hidden = !name.toLowerCase().includes(wanted); });
$("draw").addEventListener("click", () => showMap(true));
addEventListener("resize", () => map.draw());
dark.addEventListener("change", () => { if (map.answer) { map.build(); map.animate(); } });
new Upgrade((name, body) => send(name, body, name === "rehearse" ? "rehearsing" : "working"), async (found, done) => {
  showState(found.state);
  if (done) notice(`Upgraded to version ${found.state.version}.`, true);
  await showMap();
});
refresh().then(() => setInterval(watch, 2000), error => notice(error.message));
