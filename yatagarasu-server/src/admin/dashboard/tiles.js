// The tiles with the numbers of now, each with a curve of the last minutes.

import { byteRate, bytes, count, exact, inAll, latency, money, percent, NOTHING } from "./format.js";
import { by, make, shape, text } from "./dom.js";
import { sparkline } from "./chart.js";
import { requests, saved, sentBytes } from "./history.js";

const SECONDS_A_DAY = 86400;
// A failure now and then is no news. So many of all are.
const SOME = 0.01;

const rate = (value) => (value === null ? NOTHING : count(value));

function ofLatency(kind) {
  return {
    field: kind,
    value: (history) => {
      const found = history.latency(kind);
      return found ? [[latency(found[0]), "p50"], [latency(found[2]), "p99"]] : NOTHING;
    },
    note: (history) => {
      const found = history.latency(kind);
      return found ? `p90 ${latency(found[1])}, p99.9 ${latency(found[3])}` : "none in the last 10 s";
    },
  };
}

const failuresOf = (snapshot) => snapshot.source.failed;
const ofClass = (name) => (snapshot) => snapshot.statuses[name];

// `field` is what the curve shows, `max` the upper end of a fixed scale, and `isBad` marks what needs a look.
const TILES = [
  {
    label: "Requests/s", field: "total",
    value: (history) => rate(history.rate(requests)),
    note: ({ last }) => `${exact(requests(last))} in all`,
  },
  {
    label: "To clients", field: "sent",
    value: (history) => byteRate(history.rate(sentBytes)),
    note: ({ last }) => `${bytes(sentBytes(last))} in all`,
  },
  {
    label: "Hit ratio", field: "hitRatio", max: 1,
    value: (history) => percent(history.hitRatio()),
    note: (history) => inAll(history.hitRatioInAll()),
  },
  {
    label: "Byte-hit ratio", field: "byteHitRatio", max: 1,
    value: (history) => percent(history.byteHitRatio()),
    note: (history) => inAll(history.byteHitRatioInAll()),
  },
  {
    label: "S3 requests/s", field: "asked",
    value: (history) => rate(history.rate((one) => one.source.requests)),
    note: (history) => `${rate(history.rate(failuresOf, 10))} failed/s, ${byteRate(history.rate((one) => one.source.bytes))}`,
    isBad: (history) => history.ratio(failuresOf, (one) => one.source.requests) > SOME,
  },
  {
    label: "Money saved (estimate)", field: "saved",
    value: ({ last }) => money(saved(last), last.prices.currency),
    note: (history) => {
      const pace = history.rate(saved, 60);
      return pace === null ? NOTHING : `${money(pace * SECONDS_A_DAY, history.last.prices.currency)} a day at this pace`;
    },
  },
  { label: "First byte from memory", ...ofLatency("memory") },
  { label: "First byte from S3", ...ofLatency("source") },
  {
    label: "Open connections", field: "open",
    value: ({ last }) => count(last.connections.open),
    note: ({ last }) => (last.connections.max ? `of ${count(last.connections.max)}` : "no limit"),
    isBad: ({ last }) => last.connections.max > 0 && last.connections.open >= 0.9 * last.connections.max,
  },
  {
    label: "Running responses", field: "running",
    value: ({ last }) => count(last.running),
    note: ({ last }) => `${last.streams.length}${last.streams.length >= 50 ? " or more" : ""} large`,
  },
  {
    label: "Answers 5xx/s", field: "failures",
    value: (history) => rate(history.rate(ofClass("5xx"))),
    note: (history) => `${rate(history.rate(ofClass("4xx")))} 4xx/s, ${count(history.last.statuses["5xx"])} 5xx in all`,
    isBad: (history) => history.ratio(ofClass("5xx"), requests) > SOME,
  },
  {
    label: "Memory", field: "resident",
    value: ({ last }) => bytes(last.memory.resident_bytes),
    note: ({ last: { memory } }) => `fills ${bytes(memory.fill_bytes)} of ${bytes(memory.fill_bytes_max)}, `
      + `sockets ${bytes(memory.socket_bytes)} of ${bytes(memory.socket_bytes_max)}`,
  },
];

function makeTile({ label, field, max }) {
  const value = make("p", "value");
  const note = make("p", "note");
  const svg = shape("svg", { class: "spark" });
  const item = make("li", "tile", make("h3", "", label), value, note, svg);
  return { item, value, note, curve: sparkline(svg, field, max) };
}

/** Shows a value: a text, or texts with a small name each. */
function show(element, value) {
  element.classList.toggle("two", Array.isArray(value));
  if (!Array.isArray(value)) {
    text(element, value);
    return;
  }
  element.replaceChildren(...value.flatMap(([number, name]) =>
    [make("span", "named", number, " ", make("small", "", name)), " "]));
}

/** Makes the tiles. Returns a function that shows a history. */
export function tiles() {
  const made = TILES.map((tile) => ({ tile, ...makeTile(tile) }));
  by("tiles").append(...made.map(({ item }) => item));
  return (history) => {
    for (const { tile, item, value, note, curve } of made) {
      show(value, tile.value(history));
      text(note, tile.note(history));
      item.classList.toggle("bad", Boolean(tile.isBad?.(history)));
      curve(history);
    }
    const { request, gigabyte, currency } = history.last.prices;
    text(by("prices"), "Ratios and times to the first byte are those of the last 10 s. Money saved is an estimate: what S3 "
      + `was not asked for, at ${money(request * 1e6, currency)} a million requests and ${money(gigabyte, currency)} a GB.`);
  };
}
