// The panel of dead letters: looks into a queue, shows bodies when asked, replays, edits, deletes.

import { act, read } from "./api.js";
import { byId, bytes, element, foreign, number, setText, showEach, tell, visible } from "./dom.js";
import { open } from "./dialogs.js";
import { mayWrite, queueOf } from "./state.js";
import { editBody } from "./write.js";

const SHOWN = 20000;
const form = byId("look");
const chosen = new Set();
let looked = null; // the queue whose letters are shown
let letters = [];
let noReason = "";
let untouched = true; // nobody has chosen a queue: the fullest one is

export function showDeadLetterQueues(rows) {
  const queues = rows.filter((row) => row.is_dead_letter_queue);
  showEach(form.queue, queues, (row) => row.name, (row) => {
    const node = element("option", { value: row.name });
    return { node, update: (now) => setText(node, `${now.name} (${now.visible === undefined ? "?" : number(now.visible)})`) };
  });
  if (untouched) form.queue.value = queues.toSorted((a, b) => (b.visible ?? 0) - (a.visible ?? 0))[0]?.name ?? "";
}

async function look() {
  untouched = false;
  const queue = form.queue.value;
  const button = form.querySelector("button");
  button.disabled = true;
  setText(byId("look-result"), `Looking into ${queue}…`);
  try {
    const found = await read("/api/letters", { queue, where: form.where.value.trim(), limit: form.limit.value });
    looked = queue;
    letters = found.letters;
    noReason = found.no_reason;
    chosen.clear();
    setText(byId("look-result"), summary(found));
  } catch (refused) {
    setText(byId("look-result"), "");
    tell(refused.message, true);
  }
  button.disabled = false;
  show();
}

function summary({ letters: found, unseen, elsewhere }) {
  const parts = [found.length === 1 ? "1 letter" : `${number(found.length)} letters`];
  if (unseen) parts.push(`about ${number(unseen)} not seen`);
  if (elsewhere) parts.push(`about ${number(elsewhere)} in the hands of others`);
  return `${parts.join(", ")} in ${looked ?? form.queue.value}`;
}

function makeLetter(letter) {
  const box = element("input", { type: "checkbox", "aria-label": `Choose letter ${letter.id}` });
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(letter.id);
    else chosen.delete(letter.id);
    showChosen();
  });
  const content = element("div", { class: "content" });
  const body = element("details", {}, element("summary", {}, `Body, ${bytes(letter.size)}`), content);
  body.addEventListener("toggle", () => body.open && !content.firstChild && showContent(letter, content));
  const buttons = element("div", { class: "actions" });
  if (mayWrite()) {
    buttons.append(
      element("button", { type: "button", onclick: () => replay([letter.id]) }, "Replay…"),
      element("button", { type: "button", onclick: () => edit(letter) }, "Edit…"),
      element("button", { type: "button", class: "danger", onclick: () => remove([letter.id]) }, "Delete…"),
    );
  }
  const facts = [
    letter.source && ["from", letter.source.split(":").at(-1)],
    letter.sent && ["sent", new Date(letter.sent).toLocaleString("en-GB")],
    ["received", letter.receive_count === 1 ? "once" : `${number(letter.receive_count)} times`],
    letter.group && ["group", letter.group],
  ].filter(Boolean);
  const reason = element("p", { class: "reason" });
  if (letter.exception) reason.append(element("span", { class: "tag rejected" }, visible(letter.exception)), " ");
  reason.append(foreign(letter.reason ?? noReason));
  const node = element(
    "li", {},
    mayWrite() ? element("label", { class: "box" }, box) : null,
    element(
      "div", { class: "letter" }, reason,
      element("p", { class: "help" }, element("code", {}, visible(letter.id)), ...facts.flatMap(([what, text]) => [` · ${what} `, foreign(text)])),
      body,
    ),
    buttons,
  );
  return { node, update: () => (box.checked = chosen.has(letter.id)) };
}

async function showContent(letter, content) {
  content.replaceChildren("Reading…");
  try {
    const { body, attributes } = await read("/api/letter", { queue: looked, id: letter.id });
    const text = element("pre", { tabindex: 0, "aria-label": "Body" }, visible(pretty(body.slice(0, SHOWN), body.length)));
    content.replaceChildren(text);
    if (body.length > SHOWN) {
      const all = element("button", { type: "button" }, `Show all ${number(body.length)} characters`);
      all.addEventListener("click", () => { text.textContent = visible(body); all.remove(); });
      content.append(all);
    }
    const names = Object.entries(attributes);
    if (names.length) content.append(element("dl", {}, ...names.flatMap(([name, value]) => [element("dt", {}, foreign(name)), element("dd", {}, foreign(value))])));
  } catch (refused) {
    content.replaceChildren(element("p", { class: "error" }, refused.message));
  }
}

/** JSON with line breaks, if that shows the same: numbers that JavaScript would round stay as they are. */
function pretty(text, length) {
  if (length > text.length || /\d{16}|[eE]/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function show() {
  showEach(byId("letter-rows"), letters, (letter) => `${looked}\n${letter.id}`, makeLetter);
  byId("letter-actions").hidden = !mayWrite() || letters.length === 0;
  showChosen();
}

function showChosen() {
  setText(byId("chosen"), chosen.size ? `${number(chosen.size)} chosen` : "");
  byId("replay-chosen").disabled = byId("delete-chosen").disabled = chosen.size === 0;
  byId("choose-all").checked = chosen.size === letters.length && chosen.size > 0;
}

const typedName = () => (queueOf(looked)?.is_local ? null : looked);
const these = (ids) => (ids.length === 1 ? `letter ${ids[0]}` : `${number(ids.length)} letters`);

function replay(ids) {
  const text = "Each goes back to the queue that it comes from, and is deleted here when that is confirmed.";
  const action = ({ confirm }) => settle("/api/replay", { queue: looked, ids, confirm });
  open("ask", { title: `Replay ${these(ids)} of ${looked}?`, text, button: "Replay", typed: typedName(), action });
}

function remove(ids) {
  const text = "This cannot be undone.";
  const action = ({ confirm }) => settle("/api/purge", { queue: looked, ids, confirm });
  open("ask", { title: `Delete ${these(ids)} of ${looked}?`, text, button: "Delete", danger: true, typed: typedName(), action });
}

async function edit(letter) {
  try {
    const { body } = await read("/api/letter", { queue: looked, id: letter.id });
    editBody(looked, letter, body, typedName(), ({ body: edited, confirm }) =>
      settle("/api/replay", { queue: looked, ids: [letter.id], body: edited, confirm }));
  } catch (refused) {
    tell(refused.message, true);
  }
}

/** Replay or delete letters, and say what became of them. */
async function settle(path, values) {
  const { outcomes } = await act(path, values);
  const settled = new Set(outcomes.filter((outcome) => outcome.status !== "kept").map((outcome) => outcome.letter));
  const problems = outcomes.filter((outcome) => outcome.problem);
  const done = path.endsWith("purge") ? "deleted" : "replayed";
  letters = letters.filter((letter) => !settled.has(letter.id));
  for (const id of settled) chosen.delete(id);
  show();
  const missing = values.ids.length - outcomes.length;
  const texts = [`${number(settled.size)} ${done}`];
  if (missing > 0) texts.push(`${number(missing)} not found in the queue`);
  texts.push(...problems.slice(0, 3).map((outcome) => `${outcome.letter}: ${visible(outcome.problem)}`));
  tell(texts.join("; "), problems.length > 0 || missing > 0);
}

form.queue.addEventListener("change", () => (untouched = false));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  look();
});
form.queue.addEventListener("choose", (event) => {
  form.queue.value = event.detail;
  look();
});
byId("choose-all").addEventListener("change", (event) => {
  chosen.clear();
  if (event.target.checked) for (const letter of letters) chosen.add(letter.id);
  show();
});
byId("replay-chosen").addEventListener("click", () => replay([...chosen]));
byId("delete-chosen").addEventListener("click", () => remove([...chosen]));
