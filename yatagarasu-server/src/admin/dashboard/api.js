// Asks the admin API, and keeps the token for this tab.

const NAME = "yatagarasu-token";
let token = null;
try {
  token = sessionStorage.getItem(NAME);
} catch {
  // The browser may refuse to store anything. The page then asks again after a reload.
}

export const hasToken = () => Boolean(token);

export function useToken(value) {
  token = value;
  try {
    if (value) sessionStorage.setItem(NAME, value);
    else sessionStorage.removeItem(NAME);
  } catch {
    // As above.
  }
}

/** What the server refused. `status` is 0 if there was no answer. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Whether another token may help. */
  get wantsToken() {
    return this.status === 401 || this.status === 429;
  }
}

async function reason(response) {
  const body = await response.text().catch(() => "");
  try {
    const { detail, title } = JSON.parse(body);
    return detail || title;
  } catch {
    return body.trim().slice(0, 300) || `the server answered ${response.status}`;
  }
}

/** Sends a request, as JSON if there is a body, and returns the response. */
export async function ask(path, body, signal) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const method = body === undefined ? "GET" : "POST";
  let response;
  try {
    response = await fetch(path, {
      method, headers, signal, cache: "no-store", redirect: "error",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw new Refused(0, signal?.aborted ? "stopped" : `no connection to the server (${error.message})`);
  }
  if (!response.ok) throw new Refused(response.status, await reason(response));
  return response;
}
