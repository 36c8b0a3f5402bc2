// A call's time line as the views want it: made of its entries alone, whether NATS kept them or a file. No DOM.

const MAX_ENTRIES = 20000; // an hour of a lively call has some 4,000

/** { began, until, turns, points, words, events, places, agents, sides } of entries in any order. */
export function read(entries, call = null) {
  const known = entries.filter((entry) => entry && Number.isFinite(entry.at)).slice(0, MAX_ENTRIES).sort((a, b) => a.at - b.at);
  const first = known[0]?.at ?? 0;
  const began = Number.isFinite(call?.began) && call.began > 0 ? call.began : first;
  const turns = new Map();
  const [points, words, events] = [[], [], []];
  for (const entry of known) {
    if (entry.type === "turn" && Number.isInteger(entry.turn?.number)) {
      const before = turns.get(entry.turn.number);
      turns.set(entry.turn.number, { ...before, ...entry.turn, parts: { ...before?.parts, ...set(entry.turn.parts) }, end: entry.turn.end ?? before?.end ?? null });
    } else if (entry.type === "statistics") points.push(entry);
    else if (entry.type === "words") words.push(entry);
    else if (entry.type === "event") events.push(entry);
  }
  return {
    began,
    until: Math.max(began, known.at(-1)?.at ?? began),
    turns: [...turns.values()].sort((a, b) => a.number - b.number),
    points,
    words,
    events,
    places: events.filter((event) => ["moved", "transferred", "path_changed", "relay_changed"].includes(event.name)),
  };
}

const set = (parts) => Object.fromEntries(Object.entries(parts ?? {}).filter(([, value]) => value != null));

/** Curves over time: { title, unit, lines: [{ name, points: [[seconds, value]] }] }. */
export function curves({ began, points }) {
  const at = (point) => point.at - began;
  const of = (value) => points.map((point) => [at(point), value(point)]).filter(([, y]) => Number.isFinite(y));
  return [
    { title: "Packets lost", unit: "%", lines: [
      { name: "from the client", points: share(points, at, "packets_lost", "packets_received") },
      { name: "to the client, as it counts", points: shareOfClient(points, at) },
    ] },
    { title: "Jitter", unit: "ms", lines: [
      { name: "from the client", points: of((point) => point.jitter_ms) },
      { name: "to the client, as it measures", points: of((point) => point.client?.jitter_ms) },
    ] },
    { title: "Round trip", unit: "ms", lines: [
      { name: "to the client", points: of((point) => point.round_trip_ms) },
      { name: "as the client measures", points: of((point) => point.client?.round_trip_ms) },
    ] },
  ].map((curve) => ({ ...curve, lines: curve.lines.filter((line) => line.points.length) }));
}

/** Of what came between two points, the percentage that was lost. */
function share(points, at, lost, received) {
  const found = [];
  for (let n = 1; n < points.length; n++) {
    const [more, gone] = [points[n][received] - points[n - 1][received], points[n][lost] - points[n - 1][lost]];
    if (more >= 0 && more + gone > 0) found.push([at(points[n]), Math.min(100, Math.max(0, (100 * gone) / (more + gone)))]);
  }
  return found;
}

function shareOfClient(points, at) {
  const told = points.filter((point) => Number.isFinite(point.client?.packets_lost) && Number.isFinite(point.client?.packets_received));
  return share(told.map(({ at: when, client }) => ({ at: when, lost: client.packets_lost, received: client.packets_received })), at, "lost", "received");
}
