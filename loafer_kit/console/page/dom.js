// Elements, texts and numbers. Everything that others wrote becomes text here, never markup.

/** Make an element: attributes, listeners (`onclick`), properties (`.value`), then its children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) made[name.slice(1)] = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Set a text unless it is there already: a selection in it survives. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Show one child per item, in their order. A child whose key stays is kept, with its focus:
 * `make(item)` returns `{node, update}`, and `update(item)` is called each time.
 */
export function showEach(parent, items, keyOf, make) {
  const known = (parent.known ??= new Map());
  const kept = new Map();
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const row = known.get(key) ?? make(item);
    kept.set(key, row);
    row.update(item);
    if (row.node === next) next = next.nextElementSibling;
    else parent.insertBefore(row.node, next);
  }
  for (const [key, row] of known) if (kept.get(key) !== row) row.node.remove();
  parent.known = kept;
}

// Control characters, and those that reorder or hide the text around them.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}|[\u{e0000}-\u{e007f}]/gu;

/** Write characters that cannot be seen as their code, like \u202e. */
export function visible(text) {
  return String(text).replace(UNSEEN, (found) => `\\u${found.codePointAt(0).toString(16).padStart(4, "0")}`);
}

/** A text of somebody else, whose direction of writing does not reach beyond it. */
export const foreign = (text, attributes = {}) => element("bdi", attributes, visible(text));

const whole = new Intl.NumberFormat("en");
const rough = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const exact = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const number = (value) => (value === null || value === undefined ? "–" : whole.format(value));

export function rate(value) {
  return `${exact.format(value >= 100 ? Math.round(value) : value)}/s`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${rough.format(seconds * 1000)} ms`;
  if (seconds < 60) return `${rough.format(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1048576) return `${exact.format(count / 1024)} KiB`;
  return `${exact.format(count / 1048576)} MiB`;
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

/** Tell the user what became of an action; a screen reader says it. */
export function tell(text, failed = false) {
  const outcome = byId("outcome");
  outcome.classList.toggle("failed", failed);
  outcome.textContent = text;
  clearTimeout(outcome.timer);
  outcome.timer = setTimeout(() => (outcome.textContent = ""), failed ? 15000 : 6000);
}
