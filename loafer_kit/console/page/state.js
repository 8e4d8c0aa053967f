// What the console said of its services: which queues they have, and whether they may be steered.

let services = [];
let queues = new Map();
let write = false;

export function setServices(state) {
  services = state.services;
  write = state.write;
}

/** Whether there is more than one service. */
export const several = () => services.length > 1;

export const mayWrite = () => write;

/** The queue of a spec by its name, if a service has it. */
export function specOf(name) {
  return services.flatMap((service) => service.queues).find((queue) => queue.name === name);
}

export function setQueues(rows) {
  queues = new Map(rows.map((row) => [row.name, row]));
}

export const queueOf = (name) => queues.get(name);
