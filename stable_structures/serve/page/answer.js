/* An answer as Candid text: broken into lines and coloured, all of it text nodes. */
const TOKEN = /"(?:[^"\\]|\\.)*"?|[(){};,=:]|[^\s"(){};,=:]+/gs;
const WIDTH = 72, FIRST = 20000;

/* The tree of brackets of a text; a leaf is a token. Deep ones are left flat. */
function bracketTree(tokens) {
  const root = { items: [] }, stack = [root];
  for (const token of tokens) {
    if (token === "(" || token === "{") {
      const group = { open: token, items: [] };
      stack.at(-1).items.push(group);
      stack.push(group);
      if (stack.length > 200) return null;
    } else if ((token === ")" || token === "}") && stack.length > 1) stack.pop().close = token;
    else stack.at(-1).items.push(token);
  }
  return root;
}

function flatText(item) {
  if (typeof item === "string") return item;
  if (item.flat !== undefined) return item.flat;
  let text = "";
  for (const one of item.items) {
    const next = flatText(one);
    text += text && next !== ";" && next !== "," ? " " + next : next;
    if (text.length > 4000) break;
  }
  const gap = item.open === "{" && text ? " " : "";
  return item.flat = (item.open || "") + gap + text + gap + (item.close || "");
}

function layOut(item, indent, out) {
  if (typeof item === "string") { out.push(item); return; }
  const flat = flatText(item);
  if (flat.length + indent.length <= WIDTH || !item.items.length) { out.push(...flat.match(/\s+|"(?:[^"\\]|\\.)*"?|[^\s"]+/gs)); return; }
  const deeper = item.open ? indent + "  " : indent;
  if (item.open) out.push(item.open, "\n" + deeper);
  let first = true;
  for (const one of item.items) {
    const mark = one === ";" || one === ",";
    if (!first && !mark && !/\n\s*$/.test(out.at(-1))) out.push(" ");
    layOut(one, deeper, out);
    if (mark) out.push("\n" + deeper);
    first = false;
  }
  if (item.open) { if (/^\n\s*$/.test(out.at(-1))) out.pop(); out.push("\n" + indent, item.close || ""); }
}

const WORDS = new Set(["record", "variant", "vec", "opt", "blob", "principal", "func", "service", "true", "false", "null"]);
const TYPES = /^(nat|int)(8|16|32|64)?[)},;]*$|^(float32|float64|principal|text|reserved|empty)[)},;]*$/;

function showAnswer(element, text) {
  const shown = text.slice(0, FIRST), tree = bracketTree(shown.match(TOKEN) || []), pieces = [];
  if (tree) layOut(tree, "", pieces);
  else pieces.push(shown);
  let colon = false;
  for (const piece of pieces) {
    const bare = piece.trim(), word = bare.replace(/^[({]+|[)};,]+$/g, "");
    const name = bare.startsWith('"') ? "s-text" : colon && TYPES.test(bare) ? "s-type" : WORDS.has(word) ? "s-word" : /^\(*[+-]?[0-9]/.test(bare) ? "s-number" : "";
    if (bare) colon = bare === ":";
    if (!name) { add(element, piece); continue; }
    const span = document.createElement("span");
    span.className = name;
    add(span, piece);
    element.append(span);
  }
}
