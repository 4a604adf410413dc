/* What lies where in a stable memory: the model of a scene (scene.py), for every page that draws one.
   `readScene` decodes the scene in place and gives functions of an address. */
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const OUTSIDE = 0, UNUSED = 1, FREE = 2, UNKNOWN = 3, DATA = 4, OVERFLOW = 5, LEAF = 6, INTERNAL = 7, HEADER = 8, TABLE = 9, UNOWNED = 10, LOST = 11;
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
const ramp = (t, from, to) => from.map((c, i) => Math.round(c + (to[i] - c) * t));
const grey = [228, 228, 231];
const hex = n => "0x" + n.toString(16);
const human = n => { for (const unit of ["B", "KiB", "MiB", "GiB"]) { if (n < 1024 || unit === "GiB") return (unit === "B" ? n : n.toFixed(1)) + " " + unit; n /= 1024; } };

function readScene(scene) {
  const colours = scene.colours.map(rgb), owners = scene.ownerColours.map(rgb);
  scene.owners = bytes(scene.owners);
  const byId = new Map();
  scene.memories.forEach((memory, number) => {
    memory.number = number;
    for (const name of ["what", "depth", "fill"]) memory[name] = bytes(memory[name]);
    byId.set(memory.id, memory);
  });
  const rank = new Uint32Array(scene.owners.length);
  {
    const seen = new Map();
    scene.owners.forEach((owner, bucket) => { const n = seen.get(owner) || 0; rank[bucket] = n; seen.set(owner, n + 1); });
  }


  /* What lies at an address: memory, offset in it, what, chunk. */
  function at(address) {
    if (address >= scene.nbytes) return { what: OUTSIDE };
    let memory = scene.memories[0], offset = address;
    if (scene.bucketBytes) {
      if (address < scene.page) return { what: TABLE };
      const bucket = Math.floor((address - scene.page) / scene.bucketBytes);
      if (bucket >= scene.owners.length) return { what: OUTSIDE };
      memory = byId.get(scene.owners[bucket]);
      if (!memory) return { what: UNOWNED, bucket };
      offset = rank[bucket] * scene.bucketBytes + (address - scene.page) % scene.bucketBytes;
      return { bucket, ...inside(memory, offset) };
    }
    return memory ? inside(memory, offset) : { what: OUTSIDE };
  }

  function inside(memory, offset) {
    if (offset >= memory.nbytes) return { memory, offset, what: UNUSED };
    if (offset < memory.header) return { memory, offset, what: HEADER };
    if (memory.stride) {
      const chunk = Math.floor((offset - scene.firstChunk) / (memory.stride * memory.group));
      return { memory, offset, chunk, what: chunk < memory.what.length ? memory.what[chunk] : UNUSED };
    }
    return { memory, offset, what: offset < memory.live ? (memory.header ? DATA : UNKNOWN) : UNUSED };
  }

  function entryAt(memory, offset) {
    let low = 0, high = memory.ends.length;
    while (low < high) { const middle = (low + high) >> 1; if (memory.ends[middle] > offset - memory.header) high = middle; else low = middle + 1; }
    return low;
  }

  /* What is lost in the chunks from `first` on, up to `last`: seen in however large a cell. */
  function losesAny(memory, first, last) {
    if (!memory.lost) { memory.lost = []; memory.what.forEach((what, chunk) => { if (what === LOST) memory.lost.push(chunk); }); }
    let low = 0, high = memory.lost.length;
    while (low < high) { const middle = (low + high) >> 1; if (memory.lost[middle] < first) low = middle + 1; else high = middle; }
    return low < memory.lost.length && memory.lost[low] <= last;
  }

  /* The first place from `first` to `last` at which something is broken, with what it is; `faults` are of a memory, or of the tables. */
  function faultIn(faults, first, last) {
    let low = 0, high = faults.length;
    while (low < high) { const middle = (low + high) >> 1; if (faults[middle][0] < first) low = middle + 1; else high = middle; }
    return low < faults.length && faults[low][0] <= last ? faults[low] : undefined;
  }

  function content(found) {
    const { memory, chunk, what } = found;
    if (what === DATA && memory.slot) return `${memory.kind === "log index" ? "end of entry" : "element"} ${Math.floor((found.offset - memory.header) / memory.slot).toLocaleString("en")}`;
    if (what === DATA && memory.ends.length) return `entry ${entryAt(memory, found.offset).toLocaleString("en")}`;
    let text = scene.names[what];
    if (chunk === undefined || chunk >= memory.what.length) return text;
    const name = memory.group > 1 ? `${memory.group} chunks from ${(chunk * memory.group).toLocaleString("en")}` : `chunk ${chunk.toLocaleString("en")}`;
    if (what === LEAF || what === INTERNAL) text += ` at depth ${memory.depth[chunk]}, ${Math.round(memory.fill[chunk] / 2.55)}% of the page in use`;
    if (what === OVERFLOW) text += `, ${Math.round(memory.fill[chunk] / 2.55)}% in use`;
    const label = memory.labels[chunk];
    return `${text} (${name})${label ? ": " + label : ""}`;
  }

  const modes = {
    content: found => colours[found.what],
    owner: found => found.memory ? (found.what === UNUSED ? ramp(0.6, owners[found.memory.number % owners.length], [255, 255, 255]) : owners[found.memory.number % owners.length]) : colours[found.what],
    fill: found => found.chunk !== undefined && found.chunk < found.memory.fill.length && found.memory.fill[found.chunk] ? ramp(found.memory.fill[found.chunk] / 255, [254, 226, 170], [20, 83, 45]) : found.what === FREE || found.what === LOST ? colours[found.what] : grey,
    depth: found => found.what === LEAF || found.what === INTERNAL ? ramp(Math.min(1, found.memory.depth[found.chunk] / Math.max(1, found.memory.nodesByDepth.length - 1)), [190, 24, 93], [186, 230, 253]) : grey,
  };

  function describe(address) {
    const found = at(address);
    const lines = [["address", `${hex(address)} (${address.toLocaleString("en")})`]];
    if (found.bucket !== undefined) lines.push(["bucket", found.bucket.toLocaleString("en")]);
    lines.push(["owner", found.memory ? found.memory.name : scene.names[found.what]]);
    if (found.memory) lines.push(["offset", `${hex(found.offset)} in it`], ["content", content(found)]);
    return lines;
  }

  /* The address of an offset of a memory; undefined if the memory has no bucket there. */
  const bucketsOf = new Map();
  scene.owners.forEach((owner, bucket) => { if (!bucketsOf.has(owner)) bucketsOf.set(owner, []); bucketsOf.get(owner).push(bucket); });
  function addressOf(memory, offset) {
    if (!scene.bucketBytes) return offset;
    const bucket = (bucketsOf.get(memory.id) || [])[Math.floor(offset / scene.bucketBytes)];
    return bucket === undefined ? undefined : scene.page + bucket * scene.bucketBytes + offset % scene.bucketBytes;
  }

  /* Up to where a memory has been used: what comes after was reserved only. */
  const usedOf = memory => Math.min(memory.nbytes, memory.stride ? Math.max(memory.header, scene.firstChunk + memory.what.length * memory.stride * memory.group) : Math.max(memory.header, memory.live));

  return { at, inside, losesAny, faultIn, describe, addressOf, usedOf, modes, colours, owners };
}
