// Figures as people read them.

export const number = (value, digits = 0) => (Number.isFinite(value) ? value.toFixed(digits) : "–");
export const ms = (value) => (Number.isFinite(value) ? `${value < 10 ? value.toFixed(1) : Math.round(value)} ms` : "–");
export const percent = (part, whole) => (whole > 0 && Number.isFinite(part) ? `${((100 * part) / whole).toFixed(1)} %` : "–");

/** `m:ss` or `h:mm:ss`. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${h ? `${h}:${String(m).padStart(2, "0")}` : m}:${String(s).padStart(2, "0")}`;
}

/** Seconds since the call's start, to a tenth. */
export const offset = (seconds) => (Number.isFinite(seconds) ? `${seconds < 0 ? "-" : ""}${duration(Math.abs(seconds))}.${Math.floor(Math.abs(seconds) * 10) % 10}` : "–");

/** Local date and time. */
export function moment(unix) {
  const date = new Date(unix * 1000);
  return Number.isNaN(date.getTime()) || !unix ? "–" : date.toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}
