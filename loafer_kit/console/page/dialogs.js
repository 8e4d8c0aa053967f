// Dialogs: a question before something is destroyed, and what they share with the one that writes.

import { byId, setText, visible } from "./dom.js";

/**
 * Open a dialog and run `action(values)` when it is confirmed. It closes when the action has
 * succeeded; an error is shown in it. `typed` is the name that must be typed, or null.
 */
export function open(name, { title, text, button, danger = false, typed = null, action }) {
  const dialog = byId(name);
  const form = dialog.querySelector("form");
  const error = dialog.querySelector(".error");
  const confirm = form.querySelector("button:not([type])");
  const label = byId(`${name}-typed`);
  setText(byId(`${name}-title`), title);
  setText(byId(`${name}-text`), text);
  setText(confirm, button);
  setText(error, "");
  confirm.className = danger ? "danger" : "primary";
  confirm.disabled = false;
  label.hidden = typed === null;
  setText(label.querySelector("b"), visible(typed ?? ""));
  form.typed.value = "";
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (confirm.disabled) return;
    confirm.disabled = true;
    setText(error, "");
    try {
      await action({ ...Object.fromEntries(new FormData(form)), confirm: form.typed.value });
      dialog.close();
    } catch (refused) {
      setText(error, refused.message);
    }
    confirm.disabled = false;
  };
  dialog.showModal();
  return form;
}
