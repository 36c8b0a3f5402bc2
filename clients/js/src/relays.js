// The relays of an answer: which candidates are whose, and the answer with some of them. Texts in, texts out.

const FOUNDATIONS_PER_RELAY = 10; // the tens of a candidate's foundation are its relay
const SERVERS_FIRST = 2130706000; // the priority of a server's first candidate

/**
 * The priority that the browser is given for that one. A pair counts by the lower priority of its two candidates. So below what a
 * browser gives to its own (the least, of TCP, begins at 80 << 24) the relay's priority decides alone: then TCP can be better than
 * a UDP path that is dead and that the browser holds for good.
 */
export const FIRST_PRIORITY = 1000000000;

/**
 * The answer without the candidates of all relays but the first and those of its priority, and with lower priorities; what each
 * relay's candidates are; and how many of the relays the browser is given.
 * Why the others are kept back: a browser ignores a candidate that it knows already, whatever its new priority.
 */
export function splitRelays(answer) {
  const relays = new Map();
  const lines = answer.split("\r\n");
  let section = -1;
  for (const line of lines) {
    if (line.startsWith("m=")) section += 1;
    const candidate = parseCandidate(line);
    if (candidate) relays.set(candidate.relay, [...(relays.get(candidate.relay) ?? []), { ...candidate, section }]);
  }
  const all = [...relays.values()];
  const others = all.findIndex(([{ priority }]) => priority !== all[0][0].priority);
  const given = others < 0 ? all.length : others;
  const held = new Set([...relays.keys()].slice(given));
  const kept = (line) => !held.has(parseCandidate(line)?.relay) && !(held.size && line === "a=end-of-candidates");
  return { first: lines.filter(kept).map(lowered).join("\r\n"), relays: all, given };
}

function lowered(line) {
  const candidate = parseCandidate(line);
  if (!candidate) return line;
  const { priority } = candidate;
  return line.replace(` ${priority} `, ` ${Math.max(1, priority - SERVERS_FIRST + FIRST_PRIORITY)} `);
}

/** What `splitRelays` calls `first` in two parts: the answer without candidates, and these, for `addIceCandidate`. */
export function apart(answer) {
  const candidates = [];
  const lines = [];
  let section = -1;
  for (const line of splitRelays(answer).first.split("\r\n")) {
    if (line.startsWith("m=")) section += 1;
    if (line.startsWith("a=candidate:")) candidates.push({ candidate: line.slice(2), sdpMLineIndex: section });
    else if (line !== "a=end-of-candidates") lines.push(line);
  }
  return { sdp: lines.join("\r\n"), candidates };
}

/** The answer with these candidates and no others, which are all there are. */
export function withCandidates(answer, candidates) {
  const lines = [];
  let section = -1;
  const end = () => section === candidates[0].section && lines.push(...candidates.map(({ line }) => line), "a=end-of-candidates");
  for (const line of answer.split("\r\n")) {
    if (line.startsWith("a=candidate:") || line === "a=end-of-candidates") continue;
    if (line.startsWith("m=") || line === "") {
      end();
      section += 1;
    }
    lines.push(line);
  }
  return lines.join("\r\n");
}

/** How a relay is called in events: the address of its first candidate. */
export function nameOf([{ host, port }]) {
  return `${host}:${port}`;
}

function parseCandidate(line) {
  const found = /^a=candidate:(\S+) 1 (udp|tcp) (\d+) (\S+) (\d+) typ host( .*)?$/i.exec(line);
  if (!found) return null;
  const [, foundation, protocol, priority, host, port, rest = ""] = found;
  // A server that numbers in another way: each candidate counts as a relay.
  const relay = /^\d{2}$/.test(foundation) ? Math.floor(foundation / FOUNDATIONS_PER_RELAY) : foundation;
  return { relay, protocol: protocol.toLowerCase(), priority: Number(priority), host, port: Number(port), rest, line };
}
