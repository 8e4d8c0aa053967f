// The dialog that writes a message: a form made of the schema of its queue, and the body itself.

import { act } from "./api.js";
import { open } from "./dialogs.js";
import { byId, tell } from "./dom.js";
import { makeForm } from "./form.js";
import { specOf } from "./state.js";

export function writeMessage(queue) {
  const spec = specOf(queue);
  const fifo = queue.endsWith(".fifo");
  const form = open("write", {
    title: `Send to ${queue}`,
    text: spec.schema ? "" : "The spec names no payload for this queue: write the body as it is.",
    button: "Send",
    async action({ body, group }) {
      const { message_id: id } = await act("/api/send", { queue, body, group: fifo ? group : "" });
      tell(`Sent ${id} to ${queue}`);
    },
  });
  form.group.value = "";
  byId("write-group").hidden = !fifo;
  fill(form, spec.schema, spec.example);
}

export function editBody(queue, letter, body, typed, action) {
  const source = (letter.source ?? "").split(":").at(-1);
  const form = open("write", {
    title: "Edit and replay",
    text: `The edited letter goes back to ${source || "the queue that it comes from"}, and ${letter.id} is deleted from ${queue}.`,
    button: "Replay",
    typed,
    action,
  });
  byId("write-group").hidden = true;
  fill(form, specOf(source)?.schema ?? null, body);
}

/** Keep the form and the body alike: what is typed into one appears in the other. */
function fill(form, schema, text) {
  const place = byId("write-fields");
  form.body.value = text;
  form.body.oninput = null;
  place.replaceChildren();
  if (!schema) return;
  const fields = makeForm(schema, (value) => (form.body.value = JSON.stringify(value, null, 2)));
  const follow = () => {
    try {
      fields.show(JSON.parse(form.body.value));
      place.disabled = place.hidden = false;
    } catch {
      place.hidden = true; // not JSON, or not an object: only the body can say it
    }
  };
  place.append(fields.node);
  form.body.oninput = follow;
  follow();
}
