// The types of all that antiphon.js offers. tests/clients/js checks them with tsc, and their names against the modules.

export {}; // what is not exported below is not to be had

/** A message of the realtime protocol, as it goes over the data channel `oai-events`. */
export interface RealtimeEvent {
  type: string;
  [field: string]: unknown;
}

export type ErrorKind =
  | "invalid" // an option that can't be
  | "unreachable" // the server does not answer
  | "unauthorized" // the token is not accepted, or used up
  | "busy" // the server can't take a call now: see retryAfter
  | "refused" // the server does not take the call
  | "ended" // the server or the agent ended the call
  | "no_media" // answered, but no connection for audio came about
  | "lost" // the connection was lost and did not come back
  | "aborted" // given up here before it was connected
  | "sound" // the browser does not play sound without a press of a button
  | MicrophoneErrorKind;

export type MicrophoneErrorKind =
  | "missing" // there is none
  | "held" // another program may hold it
  | "insecure" // the page is not from https or localhost
  | "microphone" // anything else
  | "refused"; // the user did not allow it

export interface ErrorDetails {
  kind?: ErrorKind | null;
  status?: number;
  code?: string | null;
  retryAfter?: string | null;
  cause?: unknown;
}

/** Why there is no call, or none any more. */
export class AntiphonError extends Error {
  constructor(message: string, details?: ErrorDetails);
  readonly kind: ErrorKind;
  /** Of HTTP; 0 where the server did not answer. */
  readonly status: number;
  /** The server's name for the error. */
  readonly code: string | null;
  /** Seconds, as text. */
  readonly retryAfter: string | null;
}

/** The microphone can't be had. */
export class MicrophoneError extends AntiphonError {
  constructor(kind: MicrophoneErrorKind, message: string, cause?: unknown);
  readonly kind: MicrophoneErrorKind;
}

/** `fetch` with a key, and an AntiphonError for everything but success. */
export function request(url: string, options?: RequestInit, key?: string | null): Promise<Response>;

/** One thing that was said. */
export interface TranscriptItem {
  id: string;
  role: "user" | "assistant";
  text: string;
  final: boolean;
  interrupted: boolean;
}

/** To another relay, or by an ICE restart to whatever works (`relay` is null then). */
export interface Move {
  relay: string | null;
  why: "quiet" | "one_way" | "draining" | "loss" | "round_trip_ms" | "jitter_ms" | "not_better" | "not_reached" | (string & {});
  /** Since something arrived last. */
  quiet_ms: number;
}

/** What the server says of a call: docs/signaling.md, "Why a call ended". */
export interface CallStatus {
  id: string;
  object: "realtime.call";
  status: "running" | "ended" | "unknown";
  connected?: boolean;
  reason?: string | null;
  cause?: string | null;
  fault?: boolean;
  message?: string;
}

/** When a path is so bad that another relay is tried: docs/antiphon-js.md, "A bad path". */
export interface Steering {
  loss?: number;
  round_trip_ms?: number;
  jitter_ms?: number;
  over_ms?: number;
  settle_ms?: number;
  better?: number;
  stay_ms?: number;
  wait_ms?: readonly number[];
}

export const STEERING: Readonly<Required<Steering>>;

export interface CallStats {
  round_trip_ms: number | null;
  packets_received: number | null;
  packets_lost: number | null;
  /** What the server did not receive. */
  remote_packets_lost: number | null;
  jitter_ms: number | null;
  /** Its address and port. */
  relay: string | null;
  protocol: "udp" | "tcp" | null;
  report: RTCStatsReport | Map<string, unknown>;
}

/** What the server gets of getStats every 5 s: docs/antiphon-js.md, "What the server is told". What a browser does not tell is left out. */
export interface ClientStatsEvent {
  type: "antiphon.client_stats";
  /** Name and version. */
  client: string;
  round_trip_ms?: number;
  jitter_ms?: number;
  /** Mean time of a sample in the jitter buffer since the digest before. */
  jitter_buffer_ms?: number;
  packets_received?: number;
  packets_lost?: number;
  samples_received?: number;
  samples_concealed?: number;
  protocol?: "udp" | "tcp";
  candidate?: "host" | "srflx" | "prflx" | "relay";
}

/** An EventTarget whose events carry `detail`, by the name of the event. */
declare class Emitter<Details> extends EventTarget {
  addEventListener<Name extends keyof Details>(
    type: Name,
    listener: ((event: CustomEvent<Details[Name]>) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Name extends keyof Details>(
    type: Name,
    listener: ((event: CustomEvent<Details[Name]>) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}

// ---- a whole call ------------------------------------------------------------------------------------------------------

export type CallState = "idle" | "connecting" | "connected" | "reconnecting" | "ended";

export interface VoiceCallOptions {
  /** Origin of the server; "" (the default): the page's own. */
  url?: string;
  /** An `ek_` secret, or a function that gets one from your server; null where the server has no keys. */
  token?: string | (() => string | Promise<string>) | null;
  agent?: string | null;
  /** true (the default): asked for, and had again when it is lost. A stream of yours. false: listen and type only. */
  microphone?: boolean | MediaStream;
  /** true (the default): the agent's voice is played. An element that plays it. false: `stream` is yours to play. */
  audio?: boolean | HTMLAudioElement;
  /** Where the caller is, for a server that can't tell. */
  region?: string | null;
  /** Two relays of equal priority, or an order; null: as the server does. */
  race?: boolean | null;
  /** false: a bad path is kept, a dead one left. */
  steering?: Steering | false;
  /** Every 5 s the server gets a `ClientStatsEvent`; false: it gets none. */
  report?: boolean;
  /** Ends the call. */
  signal?: AbortSignal | null;
}

export interface VoiceCallEvents {
  state: CallState;
  /** The item has changed; it is the one in `transcript`. */
  transcript: TranscriptItem;
  /** Of the server, on the data channel. */
  event: RealtimeEvent;
  /** Where the call ended by it, "state" follows. */
  problem: AntiphonError;
  move: Move;
}

/** Place a call and wait until it is connected; rejects with AntiphonError. */
export function connect(options?: VoiceCallOptions): Promise<VoiceCall>;
/** A call whose answer is fetched before its `start`: now, or when the pointer comes to `button`. */
export function prepare(options?: VoiceCallOptions, when?: { button?: EventTarget | null }): VoiceCall;

export class VoiceCall extends Emitter<VoiceCallEvents> {
  constructor(options?: VoiceCallOptions);
  readonly state: CallState;
  /** What ended the call; null for one that ended as conversations do. */
  readonly problem: AntiphonError | null;
  /** What the server said of a call that it ended. */
  readonly ending: CallStatus | null;
  /** The agent's voice. */
  readonly stream: MediaStream | null;
  readonly id: string | null;
  readonly transcript: readonly TranscriptItem[];
  readonly muted: boolean;
  /** Have the server's answer at hand at `start`: from now on, or when the pointer comes to this element. */
  prepare(element?: EventTarget | null): void;
  /** The answer is at hand. */
  readonly prepared: boolean;
  /** Place the call; resolves when it is connected. Once only. */
  start(): Promise<void>;
  /** false while the data channel is not open. */
  send(event: RealtimeEvent): boolean;
  /** Say something in writing; false while the data channel is not open. */
  say(text: string): boolean;
  mute(muted?: boolean): void;
  hangUp(): void;
  stats(): Promise<CallStats>;
}

// ---- its parts, for pages that need more ---------------------------------------------------------------------------------

export interface PathEvent {
  state: "used" | "try" | "stay" | "back";
  relay: string;
  region: string | null;
  why: string | null;
  measured: { loss: number | null; round_trip_ms: number | null; jitter_ms: number | null } | null;
  wait_ms: number | null;
}

export interface RestartEvent {
  state: "asked" | "done" | "failed" | "refused" | "gone";
  why: string;
  error: Error | null;
}

export interface KeptPathEvents {
  quiet: number;
  moved: Move;
  restart: RestartEvent;
  back: { gap_ms: number };
  path: PathEvent;
  gone: CallStatus | null;
}

export interface Reoffered {
  answer: string;
  /** Of the answer's relays, in their order. */
  regions: (string | null)[];
}

export interface KeptPathOptions {
  steering?: Steering | false;
  regions?: (string | null)[];
  /** Takes an offer to the call's Location and resolves to the answer. */
  reoffer?: ((sdp: string) => Promise<string | Reoffered>) | null;
  /** What the server says of the call; null where it does not answer. */
  status?: (() => Promise<CallStatus | null>) | null;
}

export class KeptPath extends Emitter<KeptPathEvents> {
  constructor(peer: RTCPeerConnection, answer: string, options?: KeptPathOptions);
  moves: number;
  close(): void;
  move(why?: string): Promise<boolean>;
  restart(why?: string): boolean;
}

export interface AntiphonCallEvents extends Omit<KeptPathEvents, "gone"> {
  message: RealtimeEvent;
  open: null;
  close: null;
  track: MediaStreamTrack;
  state: RTCPeerConnectionState;
  ended: CallStatus | null;
}

export interface CallWishes {
  agent?: string | null;
  region?: string | null;
  race?: boolean | null;
}

export class AntiphonCall extends Emitter<AntiphonCallEvents> {
  constructor(options?: { server?: string; key?: string | null; steering?: Steering | false; report?: boolean });
  id: string | null;
  peer: RTCPeerConnection | null;
  channel: RTCDataChannel | null;
  path: KeptPath | null;
  region: string | null;
  /** Have the offer answered before the call, without a microphone. */
  prepare(wishes?: CallWishes): Promise<void>;
  readonly prepared: boolean;
  /** ms for which what is prepared can be used; 0: nothing is. */
  readonly preparedFor: number;
  connect(wishes: { stream: MediaStream | Promise<MediaStream> } & CallWishes): Promise<void>;
  replaceMicrophone(stream: MediaStream): Promise<void>;
  send(event: RealtimeEvent): boolean;
  status(): Promise<CallStatus | null>;
  hangUp(options?: { tell?: boolean }): Promise<void>;
}

/** One prepared call at hand, made anew before it is too old. */
export class PreparedCall {
  /** `make` resolves to a call whose `prepare` is done. */
  constructor(make: () => Promise<AntiphonCall>);
  start(): void;
  /** When the pointer comes to this element, or it is focused or touched. */
  startAt(element: EventTarget): void;
  /** There is one that can be used. */
  readonly ready: boolean;
  /** It is the caller's from now on; null: there is none. */
  take(): Promise<AntiphonCall | null>;
  close(): void;
}

/** Whether the page gets the microphone without a question to the user. */
export function microphoneIsGranted(): Promise<boolean>;

export interface Candidate {
  relay: string | number;
  protocol: "udp" | "tcp";
  priority: number;
  host: string;
  port: number;
  rest: string;
  line: string;
  section: number;
}

/** The answer for the browser, and what is kept back of it. */
export function splitRelays(answer: string): { first: string; relays: Candidate[][]; given: number };

export interface PathSample {
  path: string | null;
  up: { key: number; all: number; lost: number; jitter_ms: number | null } | null;
  down: { key: number; all: number; lost: number; jitter_ms: number | null } | null;
  round_trip_ms: number | null;
}

export type PathCommand =
  | { do: "try"; why: string; measured: PathEvent["measured"] }
  | { do: "stay"; why: string; measured: PathEvent["measured"] }
  | { do: "back"; to: string; why: string; measured: PathEvent["measured"]; wait_ms: number };

export class PathWatch {
  constructor(settings?: Steering);
  state: "watching" | "trying" | "waiting";
  due(now: number): boolean;
  look(now: number, sample: PathSample): PathCommand | null;
  moved(now: number): void;
}

/** The transcript of a call, made from its events. */
export class Conversation {
  items: TranscriptItem[];
  apply(event: RealtimeEvent): TranscriptItem[];
  typed(id: string, text: string): TranscriptItem;
}

export interface MicrophoneEvents {
  track: null;
  state: null;
}

/** The caller's microphone: asked for, watched, and had again when it is lost. */
export class Microphone extends Emitter<MicrophoneEvents> {
  constructor(devices?: MediaDevices);
  state: "asking" | "working" | "muted" | "lost" | "closed";
  problem: string;
  label: string;
  stream: MediaStream | null;
  open(): Promise<void>;
  close(): void;
}
