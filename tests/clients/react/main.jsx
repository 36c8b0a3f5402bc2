import { createRoot } from "react-dom/client";
import { Voice } from "./Voice.jsx";

const { url, agent } = Object.fromEntries(new URLSearchParams(location.search));
createRoot(document.getElementById("root")).render(<Voice url={url} token={null} agent={agent} />);
