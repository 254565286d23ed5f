// Reads the events of GET /live, and connects again when the stream breaks.
// `EventSource` cannot send the token, so that the format is read here.

import { ask } from "./api.js";

// An event comes each second. A connection that brings none for so long is dead, even if nobody says so.
const SILENCE = 10_000;
const PAUSE_MAX = 15_000;

/** Reads server-sent events, and calls `event(name, data)` for each. */
async function read(body, event) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = { event: "message", data: [] };
      for (const line of block.split("\n")) {
        const [, name, content] = /^([^:]*):? ?(.*)$/.exec(line);
        if (name === "data") fields.data.push(content);
        else if (name === "event") fields.event = content;
      }
      if (fields.data.length > 0) event(fields.event, fields.data.join("\n"));
    }
  }
}

/**
 * Follows the stream until `stop()`. Calls `snapshot(object)` for each event, `lost(reason)` when it has to connect
 * again, and `refused(error)` once if the server wants a token; the stream then ends.
 */
export function follow({ snapshot, lost, refused }) {
  const stopped = new AbortController();
  let pause = 1000;

  async function connect() {
    const connection = new AbortController();
    const end = () => connection.abort();
    stopped.signal.addEventListener("abort", end);
    let watch = setTimeout(end, SILENCE);
    try {
      const response = await ask("/live", undefined, connection.signal);
      await read(response.body, (name, data) => {
        clearTimeout(watch);
        watch = setTimeout(end, SILENCE);
        if (name !== "snapshot") return;
        pause = 1000;
        try {
          snapshot(JSON.parse(data));
        } catch (error) {
          // A fault of this page is not one of the connection.
          reportError(error);
        }
      });
      return null;
    } catch (error) {
      return error;
    } finally {
      clearTimeout(watch);
      // Otherwise a connection whose events cannot be read would stay open beside the next one.
      end();
      stopped.signal.removeEventListener("abort", end);
    }
  }

  (async () => {
    while (!stopped.signal.aborted) {
      const error = await connect();
      if (stopped.signal.aborted) return;
      if (error?.wantsToken) {
        refused(error);
        return;
      }
      lost(error?.status > 0 ? error.message : null);
      // Many open pages must not come back at the same moment.
      await new Promise((resume) => setTimeout(resume, pause * (0.75 + Math.random() / 2)));
      pause = Math.min(pause * 2, PAUSE_MAX);
    }
  })();

  return { stop: () => stopped.abort() };
}
