// A zip archive, as `antiphon record` writes it: entries by name, read from a Blob without a copy of the whole.
//
// Anybody may have made the file: every length is checked against the file, and what unpacks is bounded.

const [END, ENTRY, LOCAL] = [0x06054b50, 0x02014b50, 0x04034b50];
const MAX_ENTRIES = 64;
const MAX_DIRECTORY = 64 << 10;

export class ZipError extends Error {}

/** Its entries by name: { method, size, packed, at }. */
export async function directory(blob) {
  const tail = blob.slice(Math.max(0, blob.size - 65557));
  const view = new DataView(await tail.arrayBuffer());
  let at = view.byteLength - 22;
  while (at >= 0 && view.getUint32(at, true) !== END) at--;
  if (at < 0) throw new ZipError("this file is no recording of antiphon record: it is no zip archive");
  const [count, length, from] = [view.getUint16(at + 10, true), view.getUint32(at + 12, true), view.getUint32(at + 16, true)];
  if (count > MAX_ENTRIES || length > MAX_DIRECTORY || from + length > blob.size) throw new ZipError("its list of contents can't be right");
  const list = new DataView(await blob.slice(from, from + length).arrayBuffer());
  const entries = new Map();
  for (let n = 0, place = 0; n < count; n++) {
    if (place + 46 > list.byteLength || list.getUint32(place, true) !== ENTRY) throw new ZipError("its list of contents is damaged");
    const [name, extra, comment] = [28, 30, 32].map((field) => list.getUint16(place + field, true));
    if (place + 46 + name > list.byteLength) throw new ZipError("its list of contents is damaged");
    const text = new TextDecoder().decode(new Uint8Array(list.buffer, place + 46, name));
    entries.set(text, { method: list.getUint16(place + 10, true), packed: list.getUint32(place + 20, true), size: list.getUint32(place + 24, true), at: list.getUint32(place + 42, true) });
    place += 46 + name + extra + comment;
  }
  return entries;
}

/** The content of one entry as a Blob, at most `most` bytes; null if there is none of this name. */
export async function content(blob, entries, name, most, type = "") {
  const entry = entries.get(name);
  if (!entry) return null;
  const head = new DataView(await blob.slice(entry.at, entry.at + 30).arrayBuffer());
  if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) throw new ZipError(`${name} is damaged`);
  const from = entry.at + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  if (from + entry.packed > blob.size) throw new ZipError(`${name} is cut off`);
  const packed = blob.slice(from, from + entry.packed, type);
  if (entry.method === 0) {
    if (packed.size > most) throw new ZipError(`${name} has ${packed.size} bytes: ${most} are read`);
    return packed;
  }
  if (entry.method !== 8) throw new ZipError(`${name} is packed in a way that is not read here`);
  const reader = packed.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const pieces = [];
  for (let size = 0; ;) {
    const { done, value } = await reader.read().catch(() => { throw new ZipError(`${name} is damaged`); });
    if (done) return new Blob(pieces, { type });
    size += value.byteLength;
    if (size > most) { reader.cancel(); throw new ZipError(`${name} unpacks to more than ${most} bytes, which is all that is read`); }
    pieces.push(value);
  }
}
