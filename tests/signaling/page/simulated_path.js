// One call over relays whose paths are as a test plans them, in simulated time, with a PathWatch at its end that is given
// what browsers' getStats says of such a call. What it commands is done.
//
// plan: {seconds, relays: {name: [{from, loss, round_trip, jitter, up, down, dead}, ...]}, settings, every, omit, events}
//   from: seconds; loss: of both directions; round_trip, jitter: ms; up, down: packets a second; dead: never reached
//   omit: "type.field" that this browser does not know, or "type"
//   events: {at (s), sleep (s)} the page does not run; {at, clock (s)} the clock jumps; {at, anew: true} all counters begin
//   at 0; {at, ssrc} other streams; {at, moved: name} the call goes there for another reason
// Returns the commands, each with `at` (s) and the relay in use, and the share of the time spent on each relay.

function simulate({ PathWatch, sampleOf }, { seconds, relays, settings = {}, every = 100, omit = [], events = [], reached_in = 100 }) {
  const watch = new PathWatch(settings);
  const names = Object.keys(relays);
  const quality = (name, at) => ({ loss: 0, round_trip: 40, jitter: 2, up: 50, down: 50, dead: false, ...relays[name].filter(({ from = 0 }) => from <= at).at(-1) });
  const count = () => ({ sent: 0, upLost: 0, reported: 0, received: 0, downLost: 0 });
  let [used, coming, counters, ssrc, clock] = [names[0], null, count(), 1, 1000];
  const commands = [];
  const spent = Object.fromEntries(names.map((name) => [name, 0]));
  const left = [...events].sort((a, b) => a.at - b.at);
  let last = 0;
  for (let n = 0; n * every < seconds * 1000; n += 1) {
    const at = (n * every) / 1000;
    const due = [];
    while (left.length && left[0].at <= at) due.push(left.shift());
    for (const event of due) {
      if (event.clock) clock += event.clock * 1000;
      if (event.anew) counters = count();
      if (event.ssrc) ssrc = event.ssrc;
      if (event.sleep) n += Math.round((event.sleep * 1000) / every);
      if (event.moved) {
        coming = { to: event.moved, at: at + reached_in / 1000 };
        watch.moved(clock + at * 1000);
      }
    }
    if (coming && at >= coming.at) {
      if (!quality(coming.to, at).dead) used = coming.to;
      coming = null;
    }
    const now = (n * every) / 1000;
    const passed = now - last;
    const path = quality(used, now);
    spent[used] += passed;
    counters.sent += path.up * passed;
    counters.upLost += path.up * path.loss * passed;
    counters.received += path.down * (1 - path.loss) * passed;
    counters.downLost += path.down * path.loss * passed;
    if (Math.floor(now) > Math.floor(last)) counters.reported = counters.upLost; // by a report each second
    last = now;
    const whole = Math.floor;
    const entries = [
      { type: "outbound-rtp", kind: "audio", ssrc, packetsSent: whole(counters.sent) },
      { type: "inbound-rtp", kind: "audio", ssrc, packetsReceived: whole(counters.received), packetsLost: whole(counters.downLost), jitter: path.jitter / 1000 },
      { type: "remote-inbound-rtp", kind: "audio", ssrc, packetsLost: whole(counters.reported), jitter: 0.001, roundTripTime: path.round_trip / 1000 },
      { type: "inbound-rtp", kind: "video", ssrc, packetsReceived: 5, packetsLost: 5000, jitter: 9 },
    ].filter(({ type }) => !omit.includes(type));
    const pair = { type: "candidate-pair", currentRoundTripTime: path.round_trip / 1000 };
    for (const entry of [...entries, pair]) for (const name of omit) if (name.startsWith(entry.type + ".")) delete entry[name.split(".")[1]];
    const known = omit.includes("path") ? null : used;
    const command = watch.look(clock + now * 1000, sampleOf(new Map(entries.map((entry, k) => [k, entry])), known, omit.includes("candidate-pair") ? null : pair));
    if (!command) continue;
    commands.push({ at: now, used, ...command });
    const to = command.do === "try" ? names[(names.indexOf(used) + 1) % names.length] : command.to;
    if (command.do !== "stay" && to !== used) coming = { to, at: now + reached_in / 1000 };
  }
  return { commands, spent, used, state: watch.state };
}
