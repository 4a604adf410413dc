/* Forms from Candid types. A field is { element, read() -> what the server takes (forms.py), at(path) -> the field of a path }.
   Text of the canister gets into the page by `put` only: as text, with what is invisible or turns the direction made visible. */
const $ = id => document.getElementById(id);
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/u;
let fieldNumber = 0;

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") put(made, value);
    else if (name in made && name !== "list" && typeof value !== "string") made[name] = value;
    else made.setAttribute(name === "className" ? "class" : name, value);
  }
  made.append(...children.filter(child => child !== null));
  return made;
}

function put(element, text) {
  element.replaceChildren();
  element.classList.add("safe");
  add(element, String(text));
  return element;
}

/* Appends text; a character that nobody sees, or that turns the text around, is shown by its number. */
function add(element, text) {
  let plain = "";
  const flush = () => { if (plain) element.append(plain); plain = ""; };
  for (const letter of text) {
    if (!ODD.test(letter)) { plain += letter; continue; }
    flush();
    const odd = document.createElement("span");
    odd.className = "odd";
    odd.textContent = "\\u{" + letter.codePointAt(0).toString(16) + "}";
    element.append(odd);
  }
  flush();
}

class Forms {
  constructor(types) { this.types = types; }

  resolve(type) {
    for (let steps = 0; type.kind === "name" && steps <= this.types.length; steps++) type = this.types[type.number];
    return type;
  }

  /* A labelled field for a type. */
  field(type, label, depth = 0, required = true) {
    const found = this.resolve(type), id = "f" + ++fieldNumber;
    const inner = depth > 10 ? this.any(found, id) : this.inner(found, id, depth, required);
    const head = make("div", { className: "label", id: id + "l" }, make("b", { text: label }), make("span", { text: type.text, title: type.text }));
    const group = inner.group !== undefined;
    const element = make(group ? "div" : "div", { className: "field" }, head, inner.element);
    const control = group ? element : inner.control;
    if (group) element.setAttribute("role", "group");
    control.setAttribute("aria-labelledby", id + "l");
    const wrong = make("div", { className: "wrong", id: id + "w", hidden: true });
    element.append(wrong);
    const mark = message => {
      wrong.hidden = !message;
      put(wrong, message || "");
      if (message) { inner.control.setAttribute("aria-invalid", "true"); inner.control.setAttribute("aria-describedby", id + "w"); inner.control.focus(); }
      else { inner.control.removeAttribute("aria-invalid"); inner.control.removeAttribute("aria-describedby"); inner.clear?.(); }
    };
    const self = { element, read: inner.read, mark };
    self.at = path => path.length && inner.child ? (inner.child(path[0])?.at(path.slice(1)) ?? self) : self;
    return self;
  }

  inner(type, id, depth, required) {
    const simple = { bool: "bool", null: "nothing", reserved: "nothing", empty: "nothing", opt: "opt", vec: "vec", record: "record", variant: "variant", blob: "blob", any: "any" };
    return this[simple[type.kind] || "line"](type, id, depth, required);
  }

  line(type, id) {
    const long = type.kind === "text";
    const control = make(long ? "textarea" : "input", { id, spellcheck: false, autocomplete: "off" });
    if (long) control.rows = 1;
    else { control.placeholder = this.hint(type.kind); control.inputMode = /^(nat|int)/.test(type.kind) ? "numeric" : "text"; control.classList.add("mono"); }
    return { element: control, control, read: () => control.value };
  }

  hint(kind) { return { principal: "aaaaa-aa", service: "aaaaa-aa", func: "aaaaa-aa.method" }[kind] || (kind.startsWith("float") ? "0.0" : "0"); }

  any(type, id, depth, required = true) {
    const control = make("textarea", { id, rows: 1, spellcheck: false, placeholder: required ? 'Candid text: 1, "x", opt record { a = true }' : "Candid text; empty: left out" });
    return { element: control, control, read: () => control.value.trim() || required ? { candid: control.value } : null };
  }

  bool(type, id) {
    const control = make("select", { id }, make("option", { value: "false", text: "false" }), make("option", { value: "true", text: "true" }));
    return { element: control, control, read: () => control.value === "true" };
  }

  nothing(type, id) {
    const control = make("input", { id, value: type.kind, readOnly: true });
    return { element: control, control, read: () => null };
  }

  opt(type, id, depth) {
    const control = make("input", { type: "checkbox", id });
    const element = make("div", {}, make("label", { className: "check" }, control, "with a value"));
    let inner = null;
    control.addEventListener("change", () => {
      if (inner) inner.element.parentElement.remove();
      inner = control.checked ? this.field(type.item, "value", depth + 1) : null;
      if (inner) element.append(make("div", { className: "nest" }, inner.element));
    });
    return { element, control, group: true, read: () => inner ? { some: inner.read() } : null, child: () => inner, clear: () => inner?.mark("") };
  }

  record(type, id, depth) {
    const fields = type.fields.map(one => this.field(one.type, one.name, depth + 1));
    const element = make("div", { className: "nest", tabIndex: -1 }, ...fields.map(one => one.element));
    if (!fields.length) element.append(make("span", { className: "quiet", text: "no fields" }));
    return { element, control: element, group: true, read: () => fields.map(one => one.read()), child: place => fields[place], clear: () => fields.forEach(one => one.mark("")) };
  }

  variant(type, id, depth) {
    const control = make("select", { id }, ...type.fields.map((one, place) => make("option", { value: String(place), text: one.name })));
    control.value = String(type.start);
    control.setAttribute("aria-labelledby", id + "l");
    const place = make("div"), element = make("div", {}, control, place);
    let inner = null;
    const choose = () => {
      const one = type.fields[Number(control.value)];
      inner = one && this.resolve(one.type).kind !== "null" ? this.field(one.type, one.name, depth + 1) : null;
      place.className = inner ? "nest" : "";
      place.replaceChildren(...(inner ? [inner.element] : []));
    };
    control.addEventListener("change", choose);
    choose();
    return { element, control, group: true, read: () => ({ tag: Number(control.value), value: inner ? inner.read() : null }), child: () => inner, clear: () => inner?.mark("") };
  }

  vec(type, id, depth) {
    let items = [];
    const list = make("div", { className: "nest" }), control = make("button", { type: "button", className: "small", text: "Add an item" });
    const add = () => {
      const one = this.field(type.item, "item", depth + 1), remove = make("button", { type: "button", className: "plain small", "aria-label": "Remove this item", text: "✕" });
      const row = make("div", { className: "row" }, one.element, remove), item = { ...one, row };
      remove.addEventListener("click", () => { items = items.filter(each => each !== item); row.remove(); control.focus(); });
      items.push(item);
      list.append(row);
      row.querySelector("input, textarea, select, button")?.focus();
    };
    control.addEventListener("click", add);
    return { element: make("div", {}, list, control), control, group: true, read: () => items.map(one => one.read()), child: place => items[place], clear: () => items.forEach(one => one.mark("")) };
  }

  blob(type, id) {
    const control = make("textarea", { id, rows: 1, spellcheck: false });
    const form = make("select", { "aria-label": "How the blob is given" }, ...["text", "hex", "file"].map(name => make("option", { value: name, text: name })));
    const file = make("input", { type: "file", hidden: true, "aria-label": "File of the blob" });
    let base64 = "";
    file.addEventListener("change", async () => { if (file.files[0]) base64 = await fileBase64(file.files[0]); });
    form.addEventListener("change", () => { file.hidden = form.value !== "file"; control.hidden = !file.hidden; });
    const read = () => form.value === "file" ? { base64 } : { [form.value]: control.value };
    return { element: make("div", { className: "inline" }, make("div", {}, control, file), form), control, read };
  }
}

function fileBase64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
