// The browser's signs that the device's network may have changed. They are reasons to look, never proof of anything: some
// browsers give none, and `onLine` may be wrong.

const CHANGES_EVERY = 10000; // ms: a browser that does not name the kind of network tells each new estimate of its speed

/**
 * Calls `heard(sign)` until the returned function is called: "online" (requests may work again), "changed" (another network, or
 * none), "woken" (the page is looked at again, or goes on).
 */
export function listenForNetworkSigns(heard, { window = globalThis, document = globalThis.document, connection = globalThis.navigator?.connection } = {}) {
  const listeners = [
    [window, "online", "online"],
    [window, "offline", "changed"],
    [window, "pageshow", "woken"],
    [document, "resume", "woken"],
  ].map(([target, type, sign]) => [target, type, () => heard(sign)]);
  listeners.push([document, "visibilitychange", () => document.visibilityState === "visible" && heard("woken")]);
  let [kind, changedAt] = [connection?.type, -Infinity];
  const changed = () => {
    const now = performance.now();
    if (connection.type === undefined ? now - changedAt < CHANGES_EVERY : connection.type === kind) return;
    [kind, changedAt] = [connection.type, now];
    heard("changed");
  };
  listeners.push([connection, "change", changed]); // Wi-Fi to mobile: in Chromium
  for (const [target, type, listener] of listeners) target?.addEventListener?.(type, listener);
  return () => {
    for (const [target, type, listener] of listeners) target?.removeEventListener?.(type, listener);
  };
}
