// A form made of a JSON Schema. Texts, numbers, choices, truth values and objects have fields of
// their own; lists, unions and open objects are written as JSON.

import { element } from "./dom.js";

const INPUTS = { date: "date", time: "text", "date-time": "text", uuid: "text" };
const DEEPEST = 3;

/**
 * Return `{node, show}` for the objects of a schema. `changed(value)` gets the whole object after
 * each input; `show(value)` puts an object into the fields, and throws if it is not an object.
 */
export function makeForm(schema, changed) {
  let value = {};
  const top = resolve(schema, schema.$defs ?? {});
  const fields = makeObject(top, schema.$defs ?? {}, 0, (part) => changed((value = part)));
  return {
    node: fields.node,
    show(given) {
      if (!isObject(given)) throw new TypeError("not an object");
      value = given;
      fields.show(value);
    },
  };
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Follow references; of something that may be null, return the other type. */
function resolve(schema, definitions) {
  let found = schema;
  let optional = false;
  for (let step = 0; step < 20; step += 1) {
    const others = found.anyOf?.filter((choice) => choice.type !== "null") ?? [];
    if (found.$ref) found = { ...definitions[found.$ref.split("/").at(-1)], default: found.default };
    else if (others.length === 1) {
      found = others[0];
      optional = true;
    } else break;
  }
  return { ...found, optional, default: schema.default ?? found.default };
}

function makeObject(schema, definitions, depth, changed) {
  let value = {};
  const fields = Object.entries(schema.properties ?? {}).map(([name, part]) => {
    const inner = resolve(part, definitions);
    const required = (schema.required ?? []).includes(name);
    const field = makeField(name, inner, required, definitions, depth, (given) => {
      value = { ...value };
      if (given === undefined) delete value[name];
      else value[name] = given;
      changed(value);
    });
    return { name, ...field };
  });
  return {
    node: element("div", { class: "fields stacked" }, ...fields.map((field) => field.node)),
    show(given) {
      value = given;
      for (const field of fields) field.show(given[field.name]);
    },
  };
}

function makeField(name, schema, required, definitions, depth, changed) {
  if (schema.type === "object" && schema.properties && depth < DEEPEST) {
    const fields = makeObject(schema, definitions, depth + 1, changed);
    const node = element("fieldset", {}, element("legend", {}, name), fields.node);
    return { node, show: (value) => fields.show(isObject(value) ? value : {}) };
  }
  const { input, read, show } = makeInput(schema);
  const hint = element("small", {}, [typeName(schema), required ? null : "may be absent"].filter(Boolean).join(", "));
  const node = element("label", {}, element("span", {}, name, " ", hint), input);
  input.addEventListener(input.tagName === "SELECT" ? "change" : "input", () => {
    try {
      changed(read());
      input.setCustomValidity("");
    } catch {
      input.setCustomValidity(`${name} must be ${typeName(schema)}`);
    }
  });
  return { node, show: (value) => { input.setCustomValidity(""); show(value); } };
}

function typeName(schema) {
  if (schema.enum) return "a choice";
  if (schema.type === "string") return schema.format ?? "text";
  return { integer: "whole number", number: "number", boolean: "true or false", array: "list, as JSON", object: "object, as JSON" }[schema.type] ?? "JSON";
}

/** An input: `read()` returns its value, undefined if it is absent; it throws if it has none. */
function makeInput(schema) {
  if (schema.enum || schema.type === "boolean") return makeSelect(schema.enum ?? [true, false]);
  if (schema.type === "string") {
    const input = element("input", { type: INPUTS[schema.format] ?? "text", spellcheck: "false", autocomplete: "off" });
    return {
      input,
      read: () => input.value || (schema.optional ? undefined : ""),
      show: (value) => setValue(input, value === undefined || value === null ? "" : String(value)),
    };
  }
  const isNumber = schema.type === "integer" || schema.type === "number";
  const input = isNumber
    ? element("input", { type: "number", step: schema.type === "integer" ? 1 : "any" })
    : element("textarea", { rows: 2, spellcheck: "false" });
  return {
    input,
    read() {
      if (input.validity.badInput) throw new TypeError("no number");
      return input.value.trim() === "" ? undefined : JSON.parse(input.value);
    },
    show: (value) => setValue(input, value === undefined ? "" : JSON.stringify(value)),
  };
}

function makeSelect(values) {
  const options = values.map((value, index) => element("option", { value: index }, String(value)));
  const input = element("select", {}, element("option", { value: "" }, "–"), ...options);
  return {
    input,
    read: () => (input.value === "" ? undefined : values[Number(input.value)]),
    show: (value) => setValue(input, values.includes(value) ? String(values.indexOf(value)) : ""),
  };
}

/** The input that is being typed into is left alone. */
function setValue(input, value) {
  if (input !== document.activeElement && input.value !== value) input.value = value;
}
