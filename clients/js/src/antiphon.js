// Calls to an Antiphon server from any page: everything that this package offers. README.md has a quick start,
// docs/antiphon-js.md in the repository explains it.

export { AntiphonCall } from "./antiphon_call.js";
export { Conversation } from "./conversation.js";
export { KeptPath } from "./kept_path.js";
export { Microphone } from "./microphone.js";
export { PathWatch, STEERING } from "./path_watch.js";
export { PreparedCall, microphoneIsGranted } from "./prepared_call.js";
export { splitRelays } from "./relays.js";
export { AntiphonError, MicrophoneError, request } from "./request.js";
export { VoiceCall, connect, prepare } from "./voice_call.js";
