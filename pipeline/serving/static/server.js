// Talks to the server. Every error is an Error whose message a person can read.

const KEY = "genre-token";
const UNREACHABLE = "The server does not answer. Is it still running?";

/** The server asks for a token, and was shown none, or not the right one. */
export class TokenNeeded extends Error {
  constructor() {
    super(sessionStorage.getItem(KEY) ? "The server does not take this token." : "The server asks for a token.");
  }
}

/** Takes the token from the address, where it must not stay: addresses are shared and kept. */
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) {
    useToken(found);
    history.replaceState(null, "", location.pathname);
  }
}

/** Keeps the token for this visit. */
export function useToken(token) {
  sessionStorage.setItem(KEY, token);
}

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function reasonOf(status, text) {
  try {
    return JSON.parse(text).error ?? `The server answered ${status}.`;
  } catch {
    return `The server answered ${status}.`;
  }
}

/** The model that answers; waits while it is loaded, and tells so. */
export async function model(tellWaiting) {
  for (;;) {
    const answer = await fetch("/model", { headers: headers() }).catch(() => { throw new Error(UNREACHABLE); });
    const text = await answer.text();
    if (answer.ok) return JSON.parse(text);
    const reason = reasonOf(answer.status, text);
    if (answer.status === 401) throw new TokenNeeded();
    if (answer.status !== 503) throw new Error(reason);
    tellWaiting(reason);
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
}

/** Where a link finds the description of the API: a link shows no token, so that there it needs a copy. */
export async function description() {
  if (!sessionStorage.getItem(KEY)) return "/openapi.json";
  const answer = await fetch("/openapi.json", { headers: headers() });
  return URL.createObjectURL(await answer.blob());
}

/** The genres of a song every `hop` seconds, with its picture. `tellSent` is told the share that was sent. */
export function predict(file, name, hop, tellSent) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("file", file, name);
    const request = new XMLHttpRequest(); // fetch does not tell how much was sent
    request.open("POST", `/predict?picture=true&hop=${hop}`);
    for (const [header, value] of Object.entries(headers())) request.setRequestHeader(header, value);
    request.upload.onprogress = (event) => tellSent(event.loaded / event.total);
    request.onerror = () => reject(new Error(UNREACHABLE));
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText));
      else if (request.status === 401) reject(new TokenNeeded());
      else reject(new Error(reasonOf(request.status, request.responseText)));
    };
    request.send(form);
  });
}
