// The conversation as a list, made from the events of the data channel. No DOM, no network.
// Event names and shapes are those of the OpenAI realtime protocol.

const LONGEST = 500; // items; the oldest go first

export class Conversation {
  /** In order: {id, role: "user" | "assistant", text, final, interrupted}. */
  items = [];

  /** Take one server event in; returns the items that changed. */
  apply(event) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        return [this.#userItem(event.item_id)];
      case "conversation.item.added":
      case "conversation.item.created":
      case "conversation.item.done":
        return this.#added(event.item);
      case "response.output_item.added":
      case "response.output_item.done":
        return this.#added(event.item);
      case "conversation.item.input_audio_transcription.delta":
        return [this.#grow(event.item_id, "user", event.delta)];
      case "conversation.item.input_audio_transcription.completed":
        return [this.#finish(event.item_id, "user", event.transcript)];
      case "conversation.item.input_audio_transcription.failed":
        return [this.#finish(event.item_id, "user", "(not understood)")];
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        return [this.#grow(event.item_id, "assistant", event.delta)];
      case "response.output_audio_transcript.done":
        return [this.#finish(event.item_id, "assistant", event.transcript)];
      case "response.output_text.done":
        return [this.#finish(event.item_id, "assistant", event.text)];
      case "conversation.item.truncated":
        return this.#interrupted(event.item_id);
      case "response.done":
        if (event.response?.status !== "cancelled") return [];
        return (event.response.output ?? []).flatMap((item) => this.#interrupted(item.id));
      default:
        return [];
    }
  }

  /** What the user typed here, shown before the server confirms it. */
  typed(id, text) {
    return this.#finish(id, "user", text);
  }

  #find(id) {
    return this.items.find((item) => item.id === id);
  }

  #item(id, role) {
    let item = this.#find(id);
    if (!item) {
      item = { id, role, text: "", final: false, interrupted: false };
      this.items.push(item);
      if (this.items.length > LONGEST) this.items.shift();
    }
    return item;
  }

  #userItem(id) {
    // A sound that came to nothing leaves an empty item at the end: the next utterance takes its place.
    const last = this.items.at(-1);
    if (last?.role === "user" && !last.text && !last.final && !this.#find(id)) last.id = id;
    return this.#item(id, "user");
  }

  #added(item) {
    if (item?.type !== "message" || !["user", "assistant"].includes(item.role)) return [];
    const text = (item.content ?? []).map((part) => part.transcript ?? part.text ?? "").join("");
    // A server may give a typed message an id of its own: the same words are the same message.
    const own = item.role === "user" && text ? this.items.find((known) => known.id.startsWith("typed_") && known.text === text) : null;
    if (own && !this.#find(item.id)) own.id = item.id;
    const known = this.#item(item.id, item.role);
    if (text && !known.final) {
      known.text = text;
      known.final = item.status === "completed" || item.role === "user";
    }
    if (item.status === "incomplete" && item.role === "assistant") known.interrupted = true;
    return [known];
  }

  #grow(id, role, delta) {
    const item = this.#item(id, role);
    if (!item.final) item.text += delta ?? "";
    return item;
  }

  #finish(id, role, text) {
    const item = this.#item(id, role);
    item.text = text ?? item.text;
    item.final = true;
    return item;
  }

  #interrupted(id) {
    const item = this.#find(id);
    if (!item) return [];
    item.interrupted = true;
    return [item];
  }
}
