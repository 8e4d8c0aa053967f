// The panel of routes: what each running service does, its handlers, and the buttons that pause.

import { act } from "./api.js";
import { byId, duration, element, foreign, number, rate, setText, showEach, tell, visible } from "./dom.js";
import { mayWrite } from "./state.js";

const COLUMNS = ["Route", "Slots", "Rate", "Took", "Outcomes"];

function makeService(first) {
  const facts = element("p", { class: "help" });
  const error = element("p", { class: "error" });
  const rows = element("tbody");
  const head = COLUMNS.map((text) => element("th", { scope: "col" }, text));
  head.push(element("th", { scope: "col" }, element("span", { class: "hidden" }, "Actions")));
  const table = element("div", { class: "scroll" }, element("table", { class: "cards" }, element("thead", {}, element("tr", {}, ...head)), rows));
  const state = element("span", { class: "tag" });
  const title = element("h3", {}, foreign(first.service), " ", state);
  return {
    node: element("div", { class: "service" }, title, facts, error, table),
    update({ status, error: reason }) {
      setText(error, reason ?? "");
      table.hidden = facts.hidden = status === null;
      setText(state, status === null ? "not connected" : status.state);
      state.className = `tag ${status === null ? "" : status.state}`;
      if (status === null) return;
      const version = status.versions.service ? `version ${status.versions.service} · ` : "";
      setText(facts, `${version}up ${duration(status.uptime)} · loop lag ${duration(status.loop_lag)} · loafer_kit ${status.versions.runtime ?? "?"}`);
      showEach(rows, status.routes, (route) => route.name, (route) => makeRoute(first.service, route));
    },
  };
}

function makeRoute(service, first) {
  const tags = element("span", { class: "tags" });
  const slots = element("meter", { min: 0 });
  const slotText = element("span");
  const backlog = element("small");
  const perSecond = element("span");
  const received = element("small");
  const median = element("span", { title: "the median of the last calls" });
  const slowest = element("small");
  const outcomes = element("ul", { class: "outcomes" });
  const handlers = element("ol", { class: "handlers" });
  const oldest = element("summary");
  const running = element("details", {}, oldest, handlers);
  const steer = element("button", { type: "button" });
  const name = element("th", { scope: "row" }, foreign(first.name), " ", tags, first.queue && first.queue !== first.name ? element("small", {}, foreign(first.queue)) : null, running);
  let paused = first.paused;
  steer.addEventListener("click", async () => {
    const wanted = !paused; // the stream may bring the new state before the answer arrives
    steer.disabled = true;
    try {
      await act("/api/flow", { service, route: first.name, paused: wanted });
      tell(`${visible(first.name)} ${wanted ? "is paused" : "resumes"}`);
    } catch (refused) {
      tell(refused.message, true);
    }
    steer.disabled = false;
  });
  const node = element(
    "tr", {}, name,
    element("td", { class: "slots", "data-label": COLUMNS[1] }, slots, " ", slotText, backlog),
    element("td", { class: "number", "data-label": COLUMNS[2] }, perSecond, received),
    element("td", { class: "number", "data-label": COLUMNS[3] }, median, slowest),
    element("td", { "data-label": COLUMNS[4] }, outcomes),
    element("td", { class: "actions" }, steer),
  );
  return {
    node,
    update(route) {
      paused = route.paused;
      slots.max = Math.max(1, route.slots);
      slots.value = route.running.length;
      slots.setAttribute("aria-label", `${route.running.length} of ${route.slots} slots in use`);
      setText(slotText, `${route.running.length} / ${route.slots}`);
      setText(backlog, route.backlog ? `${number(route.backlog)} fetched` : "");
      setText(perSecond, rate(route.rate_1m));
      setText(received, `${number(route.received)} received`);
      const { p50, p95, p99 } = route.durations;
      setText(median, duration(p50));
      setText(slowest, p50 === null ? "" : `95 %: ${duration(p95)}`);
      slowest.title = `99 %: ${duration(p99)}`;
      showEach(outcomes, countsOf(route), ([text]) => text, makeCount);
      showEach(tags, tagsOf(route), (text) => text, (text) => ({ node: element("span", { class: `tag ${text.split(" ")[0]}` }, text), update() {} }));
      const eldest = route.running.toSorted((a, b) => b.age - a.age);
      running.hidden = eldest.length === 0;
      setText(oldest, eldest.length ? `${number(eldest.length)} running, oldest ${duration(eldest[0].age)}` : "");
      showEach(handlers, eldest.slice(0, 50), (call) => call.message_ids.join(), makeHandler);
      steer.hidden = !mayWrite();
      setText(steer, paused ? "Resume" : "Pause");
      steer.setAttribute("aria-label", `${paused ? "Resume" : "Pause"} ${first.name}`);
    },
  };
}

function makeHandler(call) {
  const age = element("span", { class: "number" });
  const ids = call.message_ids.length > 1 ? ` and ${call.message_ids.length - 1} more` : "";
  return {
    node: element("li", {}, age, " ", element("code", {}, visible(call.message_ids[0] ?? "a message")), ids),
    update: (now) => setText(age, duration(now.age)),
  };
}

function makeCount([text]) {
  const count = element("b");
  return { node: element("li", {}, count, ` ${text}`), update: ([, value]) => setText(count, number(value)) };
}

function countsOf(route) {
  const problems = [["dead letters", route.dead_letters], ["given up", route.given_up], ["leases lost", route.lost_leases], ["failed polls", route.failed_polls]];
  return [...Object.entries(route.outcomes), ...problems].filter(([, count]) => count > 0);
}

function tagsOf(route) {
  const limit = route.rate_limit === null ? null : `limited to ${rate(route.rate_limit)}`;
  return [route.paused && "paused", route.breaker_open && "breaker open", route.stuck && "stuck", limit].filter(Boolean);
}

export function showProcesses(services) {
  showEach(byId("services"), services, (service) => service.service, makeService);
}
