// The panel of recent messages: what became of each, and why.

import { byId, clock, duration, element, foreign, number, setText, showEach, visible } from "./dom.js";
import { several } from "./state.js";

let messages = [];

function makeRow(message) {
  const error = message.error === null ? null : element("p", { class: "error" }, foreign(message.error));
  const place = several() ? element("span", { class: "help" }, foreign(` ${message.service}`)) : null;
  const what = [foreign(message.route), place, element("code", {}, visible(message.message_id ?? "")), error];
  const node = element(
    "tr", {},
    element("td", { class: "time", "data-label": "Time" }, clock(message.time)),
    element("td", { class: "what" }, ...what),
    element("td", { "data-label": "Outcome" }, element("span", { class: `tag ${message.outcome.split(" ")[0]}` }, message.outcome)),
    element("td", { class: "number", "data-label": "Took" }, duration(message.duration)),
  );
  return { node, update() {} };
}

function show() {
  const searched = byId("search").value.trim().toLowerCase();
  const failedOnly = byId("failed-only").checked;
  const fitting = messages.filter((message) => {
    if (failedOnly && message.error === null) return false;
    const texts = [message.service, message.route, message.message_id, message.outcome, message.error];
    return !searched || texts.some((text) => text?.toLowerCase().includes(searched));
  });
  const key = (message) => [message.service, message.route, message.message_id, message.time].join("\n");
  showEach(byId("message-rows"), fitting, key, makeRow);
  const all = messages.length ? `The last ${number(messages.length)} that were finished` : "None yet";
  setText(byId("message-count"), fitting.length === messages.length ? all : `${number(fitting.length)} of ${number(messages.length)}`);
}

export function showMessages(state) {
  messages = state;
  show();
}

byId("search").addEventListener("input", show);
byId("failed-only").addEventListener("change", show);
