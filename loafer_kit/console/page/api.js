// Requests to the console, and the stream of what it shows.

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(path, options) {
  let response, answer;
  try {
    response = await fetch(path, { ...options, credentials: "same-origin", redirect: "error" });
    answer = await response.json();
  } catch {
    throw new Refused("The console does not answer", response?.status ?? 0);
  }
  if (!response.ok) throw new Refused(answer.error ?? response.statusText, response.status);
  return answer;
}

export function act(path, values) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(values) });
}

export function read(path, values) {
  return request(`${path}?${new URLSearchParams(values)}`);
}

/** Exchange the token in the address for a session, and take it out of the address. */
export async function logIn() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(null, "", location.pathname);
  await act("/api/session", { token });
}

/**
 * Call `topics[name](state)` for each event, and `connected(state)` with "live", "waiting" while
 * the console does not answer, or the error that ended the stream.
 */
export function listen(topics, connected) {
  const source = new EventSource("/api/stream");
  for (const [name, show] of Object.entries(topics)) {
    source.addEventListener(name, (event) => show(JSON.parse(event.data)));
  }
  source.onopen = () => connected("live");
  source.onerror = async () => {
    connected("waiting");
    if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
    connected(await whyRefused());
  };
  return source;
}

async function whyRefused() {
  try {
    await read("/api/session", {});
    return new Refused("The console shows too many pages already", 0);
  } catch (refused) {
    return refused;
  }
}
