// A recording (docs/console.md, "The file"): what its parts hold. Nothing of it leaves the browser.

import { content, directory, ZipError } from "./zip_file.js";

const MAX_AUDIO = 1 << 30;
const MAX_JSON = 1 << 20;
const MAX_TIMELINE = 64 << 20;
const MAX_PEAKS = 16 << 20;
const MAX_LINES = 50000;

/** { head, call, ended, entries, audio (Blob or null), peaks (Uint8Array, caller and agent in turn) }; ZipError says why not. */
export async function open(file) {
  const entries = await directory(file);
  const head = await json(await content(file, entries, "call.json", MAX_JSON));
  if (head?.format !== "antiphon recording") throw new ZipError("this archive is no recording of antiphon record: call.json does not say so");
  if (head.version !== 1) throw new ZipError(`it has version ${Number(head.version)} of the format: this page reads version 1`);
  const lines = await content(file, entries, "timeline.jsonl", MAX_TIMELINE);
  const peaks = await content(file, entries, "peaks.u8", MAX_PEAKS);
  return {
    head,
    call: plainObject(head.call),
    ended: Number.isFinite(head.ended) ? { reason: head.reason ?? "", cause: head.cause ?? "", ended: head.ended } : null,
    entries: lines ? rows(await lines.text()) : [],
    audio: await content(file, entries, "audio.ogg", MAX_AUDIO, "audio/ogg"),
    peaks: peaks ? new Uint8Array(await peaks.arrayBuffer()) : new Uint8Array(0),
  };
}

async function json(blob) {
  if (!blob) throw new ZipError("this archive is no recording of antiphon record: it has no call.json");
  try {
    return plainObject(JSON.parse(await blob.text()));
  } catch {
    throw new ZipError("its call.json is damaged");
  }
}

function rows(text) {
  const found = [];
  for (const line of text.split("\n")) {
    if (found.length >= MAX_LINES) break;
    try {
      const entry = plainObject(JSON.parse(line));
      if (entry) found.push(entry);
    } catch {
      continue; // the last line of a recorder that was killed
    }
  }
  return found;
}

const plainObject = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : null);
