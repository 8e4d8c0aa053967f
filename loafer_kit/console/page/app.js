// The page: logs in, listens, and passes each state to its panel.

import { Refused, listen, logIn } from "./api.js";
import { byId, element, setText } from "./dom.js";
import { showQueues } from "./queues.js";
import { showProcesses } from "./routes.js";
import { showMessages } from "./messages.js";
import { showDeadLetterQueues } from "./letters.js";
import { setQueues, setServices } from "./state.js";

const RETRY = 2000;
let source = null;
let retry = 0;

const topics = {
  services(state) {
    setServices(state);
    document.body.classList.toggle("read-only", !state.write);
    byId("mode").hidden = state.write;
    document.title = `${state.services.map((service) => service.name).join(", ")} – loafer-kit console`;
  },
  queues(rows) {
    const places = new Set(rows.map((row) => row.place).filter(Boolean));
    setText(byId("place"), [...places].join(", "));
    setQueues(rows);
    showQueues(rows);
    showDeadLetterQueues(rows);
  },
  processes: showProcesses,
  messages: showMessages,
};

function connected(state) {
  const refused = state instanceof Refused;
  const name = refused ? "refused" : state;
  const mark = byId("connection");
  mark.dataset.state = name;
  setText(mark, { live: "live", waiting: "no connection", refused: "no session" }[name]);
  document.body.classList.toggle("stale", name !== "live");
  const notice = byId("notice");
  notice.hidden = name === "live";
  if (refused && state.status) setText(notice, state.message);
  else setText(notice, "The console does not answer. The page tries again until it does.");
  if (refused && !state.status) retry = setTimeout(begin, RETRY);
}

async function begin() {
  clearTimeout(retry);
  source?.close();
  try {
    await logIn();
  } catch (refused) {
    connected(refused);
    return;
  }
  source = listen(topics, connected);
}

// A new address of the console in the same tab changes nothing but the fragment.
addEventListener("hashchange", () => location.hash.startsWith("#token=") && begin());
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
begin();
