// The digest of getStats that a call sends to its server: what only this side can measure. A report comes in, a message comes out:
// no timers, no connection, no DOM. What a browser does not tell is left out.

export const REPORT_EVERY = 5000; // ms
const CLIENT = "antiphon.js 0.1.0";

/**
 * `report`: an RTCStatsReport. `before`: what the call before has returned as `kept`, or null. Returns {message, kept}: the event
 * "antiphon.client_stats", or null where there is nothing to tell, and what the next call needs.
 */
export function digestOf(report, before = null) {
  const entries = [...report.values()];
  const inbound = entries.find(({ type, kind, mediaType }) => type === "inbound-rtp" && (kind ?? mediaType ?? "audio") === "audio");
  const pair = usedPair(report, entries);
  const local = report.get(pair?.localCandidateId);
  const remote = report.get(pair?.remoteCandidateId);
  const kept = { delay: inbound?.jitterBufferDelay, emitted: inbound?.jitterBufferEmittedCount };
  const found = {
    round_trip_ms: milliseconds(pair?.currentRoundTripTime),
    jitter_ms: milliseconds(inbound?.jitter),
    jitter_buffer_ms: before && milliseconds((kept.delay - before.delay) / (kept.emitted - before.emitted)),
    packets_received: whole(inbound?.packetsReceived),
    packets_lost: Number.isInteger(inbound?.packetsLost) ? inbound.packetsLost : null,
    samples_received: whole(inbound?.totalSamplesReceived),
    samples_concealed: whole(inbound?.concealedSamples),
    protocol: oneOf(["udp", "tcp"], remote?.protocol ?? local?.protocol),
    candidate: oneOf(["host", "srflx", "prflx", "relay"], local?.candidateType),
  };
  const known = Object.entries(found).filter(([, value]) => value !== null);
  const message = known.length ? { type: "antiphon.client_stats", client: CLIENT, ...Object.fromEntries(known) } : null;
  return { message, kept };
}

/** Chromium names the pair in use in `transport`, Firefox in the pair itself. */
function usedPair(report, entries) {
  const transport = entries.find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId);
  return report.get(transport?.selectedCandidatePairId) ?? entries.find(({ type, selected }) => type === "candidate-pair" && selected) ?? null;
}

function milliseconds(seconds) {
  return Number.isFinite(seconds) && seconds >= 0 ? Math.round(seconds * 1e6) / 1e3 : null;
}

function whole(count) {
  return Number.isInteger(count) && count >= 0 ? count : null;
}

function oneOf(values, value) {
  return values.includes(value) ? value : null;
}
