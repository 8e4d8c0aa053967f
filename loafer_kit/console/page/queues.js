// The panel of queues: depth and messages in flight, with a line of what they were lately.

import { byId, duration, element, foreign, number, setText, showEach } from "./dom.js";
import { mayWrite, specOf } from "./state.js";
import { writeMessage } from "./write.js";

const WIDTH = 180;
const FEWEST = 60; // a shorter history is drawn at the right end
const HEIGHT = 28;

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A drawn line of both counts; its label says the same in words. */
function makeLine() {
  const waiting = svg("polyline", { class: "wait" });
  const area = svg("polygon", { class: "area" });
  const flying = svg("polyline", { class: "fly" });
  const node = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, area, waiting, flying);
  return {
    node,
    update(row) {
      const history = row.history;
      const most = Math.max(1, ...history.flat());
      const step = WIDTH / (Math.max(history.length, FEWEST) - 1);
      const first = WIDTH - (history.length - 1) * step;
      const points = (place) =>
        history.map((counts, index) => {
          const x = (first + index * step).toFixed(1);
          return `${x},${(HEIGHT - 2 - (counts[place] / most) * (HEIGHT - 4)).toFixed(1)}`;
        });
      const line = points(0);
      waiting.setAttribute("points", line.join(" "));
      flying.setAttribute("points", points(1).join(" "));
      area.setAttribute("points", line.length ? [`${first},${HEIGHT}`, ...line, `${WIDTH},${HEIGHT}`].join(" ") : "");
      const highest = (place) => number(Math.max(0, ...history.map((counts) => counts[place])));
      const span = duration(history.length * row.every);
      node.setAttribute("aria-label", `In the last ${span}: at most ${highest(0)} waiting and ${highest(1)} in flight`);
    },
  };
}

function makeRow(row) {
  const line = makeLine();
  const error = element("p", { class: "error" });
  const waiting = element("td", { class: "number strong", "data-label": "Waiting" });
  const flying = element("td", { class: "number", "data-label": "In flight" });
  const send = element("button", { type: "button", onclick: () => writeMessage(row.name) }, "Send…");
  send.setAttribute("aria-label", `Send a message to ${row.name}`);
  const look = element("a", { href: "#letters", class: "button", onclick: () => byId("look").queue.dispatchEvent(new CustomEvent("choose", { detail: row.name })) }, "Look");
  look.setAttribute("aria-label", `Look into ${row.name}`);
  const name = element("th", { scope: "row" }, foreign(row.name));
  if (row.is_dead_letter_queue) name.append(" ", element("span", { class: "tag dead" }, "dead letters"));
  name.append(error);
  const node = element("tr", {}, name, waiting, flying, element("td", { class: "line" }, line.node), element("td", { class: "actions" }));
  return {
    node,
    update(now) {
      const delayed = now.delayed ? ` + ${number(now.delayed)} delayed` : "";
      setText(waiting, `${number(now.visible)}${delayed}`);
      setText(flying, number(now.in_flight));
      setText(error, now.error ?? "");
      node.classList.toggle("unknown", now.error !== null);
      node.classList.toggle("alarm", now.is_dead_letter_queue && now.visible > 0);
      line.update(now);
      const buttons = wanted(now);
      const cell = node.lastChild;
      // Only when they change: a button that is put back has lost the focus.
      const same = buttons.length === cell.children.length && buttons.every((button) => button.parentNode === cell);
      if (!same) cell.replaceChildren(...buttons);
    },
  };

  function wanted(now) {
    const buttons = [];
    if (now.is_dead_letter_queue) buttons.push(look);
    if (mayWrite() && specOf(now.name)) buttons.push(send);
    return buttons;
  }
}

export function showQueues(rows) {
  showEach(byId("queue-rows"), rows, (row) => row.name, makeRow);
  const longest = Math.max(0, ...rows.map((row) => row.history.length * row.every));
  setText(byId("span"), longest ? `· last ${duration(longest)}` : "");
}
