// The time line of a call as a file, as `antiphon record` writes it but for the sound: that needs the recorder.

import { el } from "./dom.js";

/** Offer the file for download. */
export function save(id, call, end, entries) {
  const head = { type: "call", session_id: id, call, reason: end?.reason ?? null, cause: end?.cause ?? "", ended: end?.ended ?? null };
  const lines = [head, ...entries].map((each) => JSON.stringify(each)).join("\n");
  const url = URL.createObjectURL(new Blob([`${lines}\n`], { type: "application/x-ndjson" }));
  el("a", { href: url, download: `${id.replace(/[^A-Za-z0-9_-]/g, "_").slice(0, 64)}.timeline.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
