import { connect } from "antiphon.js";
import { useEffect, useRef, useState } from "react";

/** A button that calls the agent, and what both sides say. `token`: gets an ek_ secret from your server. */
export function Voice({ url, token, agent }) {
  const call = useRef(null);
  const [state, setState] = useState("idle");
  const [said, setSaid] = useState([]);
  const end = () => call.current?.abort();
  useEffect(() => end, []); // also when the component goes away
  const start = async () => {
    const { signal } = (call.current = new AbortController());
    setState("connecting");
    const made = await connect({ url, token, agent, signal }).catch((error) => setState(error.message));
    made?.addEventListener("transcript", () => setSaid(made.transcript.map((item) => ({ ...item }))));
    made?.addEventListener("state", () => setState(made.state));
    if (made) setState(made.state);
  };
  const talking = ["connecting", "connected", "reconnecting"].includes(state);
  return <><button onClick={talking ? end : start}>{talking ? "End call" : "Call"}</button><p role="status">{state}</p>
    <ul>{said.map(({ id, role, text }) => <li key={id} className={role}>{text}</li>)}</ul></>;
}
