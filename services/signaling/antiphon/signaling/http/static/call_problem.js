// Why there is no call, or none any more, in words for people.

/** `kind` is for programs, the message for people. */
export class CallProblem extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}
