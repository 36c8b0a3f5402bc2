// What callers, agents and plug-ins wrote, made harmless for display. It only ever becomes a text node.
//
// A text node can hold no markup, but control characters, changes of direction and what can't be seen may still
// make one text look like another: they are shown by their numbers. Long ones are cut.

const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff]|[\u{e0000}-\u{e0fff}]|\p{Cs}/gu;
const PILED = /(\p{M}{3})\p{M}+/gu; // marks over one letter that would cover the lines above

/** The text as it may be shown: at most `most` characters, nothing unseen in it. */
export function plain(value, most = 200) {
  const text = typeof value === "string" ? value : value == null ? "" : String(value);
  const cut = Array.from(text.slice(0, 2 * most)).slice(0, most).join("");
  const shown = cut.replace(PILED, "$1").replace(UNSEEN, (each) => `[U+${each.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
  return cut.length < text.length ? `${shown}… (${text.length - cut.length} more)` : shown;
}

/** As `plain`, for words of a conversation: line ends stay spaces. */
export const words = (value, most = 4000) => plain(String(value ?? "").replace(/[\t\r\n]+/g, " "), most);
