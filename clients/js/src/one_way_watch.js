// When packets still come by a path, but none of ours arrives: a firewall that closes one direction. Counters and the time come in,
// a verdict goes out: no timers, no connection, no DOM. A KeptPath owns one.
//
// Two signs together, because each alone also comes of loss: an ICE check that is not answered (Chromium sends one each 2.5 s, and
// each 1 s once one was lost), and a receiver report of the server that says the same as the one before, although we have sent
// packets in between. Where packets arrive, if only some of them, its jitter and its losses differ.

const ANSWER_WITHIN = 200; // ms, plus a round trip, for an ICE check
const UNANSWERED = 3; // checks in a row, where no reports come that could say more
const PACKETS = 20; // that we have sent between two reports, or they say nothing
const REPORT_WITHIN = 4500; // ms; the server's come each second

/** One call's. `look` is called at each look of the KeptPath. */
export class OneWayWatch {
  dead = false; // nothing of ours arrives, as far as is known
  #pair = null;
  #answered = 0;
  #lost = 0; // checks that were never answered, and are no news
  #waitsSince = null; // for an answer
  #report = null; // {number, says, packets, at}: the newest of the server
  #same = false; // it says the same as the one before

  /** `now`: ms of a monotonic clock. `sample`: as `oneWaySampleOf` makes it. Whether the path is dead in this direction. */
  look(now, sample) {
    if (sample === null || sample.pair !== this.#pair) {
      this.#begin(now, sample);
      return (this.dead = false);
    }
    const { requests, responses, round_trip_ms } = sample;
    if (responses !== this.#answered) {
      this.#answered = responses;
      this.#lost = requests - responses;
      this.#waitsSince = null;
    }
    const unanswered = requests - responses - this.#lost;
    if (unanswered > 0) this.#waitsSince ??= now;
    this.#read(now, sample);
    const missing = this.#waitsSince !== null && now - this.#waitsSince >= ANSWER_WITHIN + round_trip_ms;
    const reported = this.#report !== null && now - this.#report.at < REPORT_WITHIN;
    return (this.dead = missing && (reported ? this.#same : unanswered >= UNANSWERED));
  }

  #begin(now, sample) {
    this.#pair = sample?.pair ?? null;
    this.#answered = sample?.responses ?? 0;
    this.#lost = sample ? sample.requests - sample.responses : 0;
    this.#waitsSince = null;
    this.#report = null;
    this.#same = false;
    if (sample) this.#read(now, sample);
  }

  #read(now, { report, packets }) {
    if (report === null || report.number === this.#report?.number) return;
    this.#same = this.#report !== null && report.says === this.#report.says && packets - this.#report.packets >= PACKETS;
    this.#report = { ...report, packets, at: now };
  }
}

/** What a OneWayWatch wants to know of an RTCStatsReport and the pair in use; null: the browser does not count its checks. */
export function oneWaySampleOf(stats, pair) {
  if (!Number.isFinite(pair?.requestsSent) || !Number.isFinite(pair?.responsesReceived)) return null;
  let [packets, report] = [0, null];
  for (const entry of stats.values()) {
    if ((entry.kind ?? "audio") !== "audio") continue;
    if (entry.type === "outbound-rtp") packets += entry.packetsSent ?? 0;
    else if (entry.type === "remote-inbound-rtp" && Number.isFinite(entry.roundTripTimeMeasurements)) {
      report = { number: entry.roundTripTimeMeasurements, says: `${entry.packetsLost} ${entry.jitter}` };
    }
  }
  const round_trip_ms = (pair.currentRoundTripTime ?? 0) * 1000;
  return { pair: pair.id, requests: pair.requestsSent, responses: pair.responsesReceived, round_trip_ms, packets, report };
}
