// A recording is opened by dropping it on the page, or by the button: offline, without an upload.

import { callView } from "./call_view.js";
import { el } from "./dom.js";
import { player } from "./player.js";
import { open } from "./recording_file.js";
import { plain } from "./text.js";
import { read } from "./timeline.js";

/** { element, open(file), close() }; `failed(text)` says why a file can't be opened. */
export function fileView(failed) {
  const input = el("input", { id: "file", type: "file", accept: ".antiphon,application/zip" });
  const shown = el("div", {});
  let playing = null;
  const close = () => { playing?.close(); playing = null; };
  const show = async (file) => {
    close();
    shown.replaceChildren();
    try {
      const recording = await open(file);
      const model = read(recording.entries, { began: recording.head.began });
      playing = player(recording, model);
      shown.replaceChildren(...callView({
        id: plain(recording.head.session_id ?? file.name, 64), call: recording.call, ended: recording.ended, model, agents: Array.isArray(recording.head.agents) ? recording.head.agents : [], above: playing.element,
      }).filter(Boolean));
      failed("");
    } catch (error) {
      failed(`${plain(file.name, 80)} can't be opened: ${plain(error.message, 300)}`);
    }
  };
  input.onchange = () => { if (input.files[0]) show(input.files[0]); };
  const element = el("div", {},
    el("div", { class: "drop" }, el("label", { for: "file" }, "A recording of "), el("code", {}, "antiphon record"), " (", el("code", {}, ".antiphon"), "): drop it on this page, or choose it. It stays in this browser.", input),
    shown);
  return { element, open: show, close };
}
