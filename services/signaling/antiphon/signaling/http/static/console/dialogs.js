// Signing in, and asking before something is done that can't be undone.

import { ask } from "./api.js";
import { plain } from "./text.js";

const $ = (id) => document.getElementById(id);

/** Show the form until somebody has signed in (true), or wants a recording only (false). */
export function signIn(problem) {
  const [dialog, form] = [$("sign-in"), $("sign-in-form")];
  $("sign-in-problem").textContent = problem ?? "";
  return new Promise((resolve) => {
    const done = (answer) => {
      form.onsubmit = $("only-file").onclick = dialog.oncancel = null;
      $("key").value = "";
      dialog.close();
      resolve(answer);
    };
    $("only-file").onclick = () => done(false);
    dialog.oncancel = (event) => { event.preventDefault(); done(false); };
    form.onsubmit = async (event) => {
      event.preventDefault();
      const key = $("key").value.trim();
      if (!key) return;
      try {
        await ask("/v1/operator/session", { method: "POST", body: { key } });
        done(true);
      } catch (error) {
        $("sign-in-problem").textContent = plain(error.message, 400);
        $("key").value = "";
        $("key").focus();
      }
    };
    if (!dialog.open) dialog.showModal();
    $("key").focus();
  });
}

/** Ask; true if `action` was chosen. */
export function confirmed(title, text, action) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = action;
  dialog.returnValue = "no";
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.showModal();
  });
}
