// The tables: buckets, running streams, hottest objects and recent errors.

import { byteRate, bytes, clock, count, duration, exact, inAll, objects, percent, NOTHING } from "./format.js";
import { bar, by, copy, fill, make, marked, sync, text } from "./dom.js";
import { WINDOW } from "./history.js";

const DAY = 86400;

/**
 * A table in a box. A column has a `title`, may `make` what its cells hold, and shows an item with `show(cell, item)`.
 * The roles are those that the elements have anyway; the style of phones, which makes rows to cards, would take them away.
 */
function table(box, columns, empty, limit = Infinity) {
  const head = make("tr", "", ...columns.map(({ title, kind = "" }) => {
    const cell = make("th", kind, title);
    cell.scope = "col";
    cell.setAttribute("role", "columnheader");
    return cell;
  }));
  const body = make("tbody");
  const whole = make("table", "cards", make("thead", "", head), body);
  whole.setAttribute("role", "table");
  whole.setAttribute("aria-labelledby", box.closest("section").getAttribute("aria-labelledby"));
  for (const part of [whole.tHead, body]) part.setAttribute("role", "rowgroup");
  head.setAttribute("role", "row");
  const nothing = make("p", "empty", empty);
  const more = make("button", "quiet more");
  more.type = "button";
  let isWhole = false;
  box.append(make("div", "scroll", whole), nothing, more);

  const makeRow = () => {
    const row = make("tr", "", ...columns.map(({ title, kind = "", make: content }) => {
      const cell = make("td", kind, ...(content?.() ?? []));
      cell.setAttribute("role", "cell");
      cell.dataset.title = title;
      return cell;
    }));
    row.setAttribute("role", "row");
    return row;
  };
  const show = (items, name) => {
    whole.hidden = items.length === 0;
    nothing.hidden = items.length > 0;
    more.hidden = items.length <= limit;
    text(more, isWhole ? `Show the first ${limit}` : `Show all ${items.length}`);
    more.onclick = () => {
      isWhole = !isWhole;
      show(items, name);
    };
    sync(body, isWhole ? items : items.slice(0, limit), name, makeRow, (row, item) => {
      row.item = item;
      columns.forEach(({ show: fillCell }, index) => fillCell(row.cells[index], item));
    });
  };
  return show;
}

/** A column of text. `kind` is a class: `number`, `long` and the like. */
const plain = (title, value, kind = "") => ({ title, kind, show: (cell, item) => text(cell, value(item)) });
const numeric = (title, value) => plain(title, value, "number");

/** A column whose cells have a main line and a smaller one. `show` returns both, and whether it is bad. */
const twoLines = (title, show, kind = "") => ({
  title, kind,
  make: () => [make("span", "main"), make("small")],
  show: (cell, item) => {
    const [main, more = "", isBad = false] = show(item);
    text(cell.firstChild, main);
    text(cell.lastChild, more);
    cell.classList.toggle("bad", isBad);
  },
});

/** A column with a bar and its text. `show` returns the ratio, the text, and a smaller one. */
const withBar = (title, show) => ({
  title, kind: "filled",
  make: () => [make("span", "main"), bar(), make("small")],
  show: (cell, item) => {
    const [ratio, main, more = ""] = show(item);
    text(cell.children[0], main);
    cell.children[1].hidden = ratio === null;
    fill(cell.children[1], ratio);
    text(cell.children[2], more);
  },
});

/** A button in a column, which acts on the item of its row. */
const action = (label, act, kind = "action") => ({
  title: "", kind,
  make: () => {
    const button = make("button", "quiet", label);
    button.type = "button";
    button.addEventListener("click", () => act(button.closest("tr").item, button));
    return [button];
  },
  show: () => {},
});

function source({ up, source_failed: failed, source_requests: asked }) {
  const more = asked > 0 ? `${count(asked)} asked, ${count(failed)} failed` : "not asked yet";
  return up ? ["up", more] : ["down", more, true];
}

function credentials({ credentials_valid: valid, credentials_expire: expire }, at) {
  if (!valid) return ["not valid", "misses get 502", true];
  if (!expire) return ["valid", "do not expire"];
  const left = expire - at;
  if (left <= 0) return ["expired", clock(expire), true];
  return ["valid", `for ${duration(left)}`, left < DAY / 24 / 12];
}

const place = ({ hosts, path_prefix: prefix }) => (hosts.length > 0 ? `${hosts.join(", ")} ${prefix}` : prefix);

export function buckets() {
  let history = null;
  // A bucket may be new since then, after a reload of the configuration.
  const before = ({ bucket }) =>
    history.before(WINDOW).buckets.find((one) => one.bucket === bucket);
  const grown = (item, field) => {
    const from = before(item);
    return from ? Math.max(0, item[field] - from[field]) : null;
  };
  const rate = (item, field) => {
    const growth = grown(item, field);
    const time = history.now - history.before(WINDOW).uptime_seconds;
    return growth === null || time <= 0 ? null : growth / time;
  };
  const ratio = (item, part, whole) => {
    const now = grown(item, whole);
    const all = item[whole] > 0 ? item[part] / item[whole] : null;
    return [percent(now > 0 ? Math.min(1, grown(item, part) / now) : null), inAll(all)];
  };
  const show = table(by("buckets"), [
    twoLines("Bucket", (item) => [item.bucket, place(item)], "long subject"),
    twoLines("Requests/s", (item) => [count(rate(item, "requests")), `${exact(item.requests)} in all`], "number"),
    twoLines("To clients", (item) => [byteRate(rate(item, "bytes")), `${bytes(item.bytes)} in all`], "number"),
    twoLines("Hit ratio", (item) => ratio(item, "hits", "for_objects"), "number"),
    twoLines("Byte-hit ratio", (item) => ratio(item, "bytes_of_hits", "bytes_for_objects"), "number"),
    withBar("Cache", ({ cache_bytes: used, cache_bytes_max: max, objects: number }) => (max > 0
      ? [used / max, `${bytes(used)} of ${bytes(max)}`, objects(number)] : [null, "no cache"])),
    twoLines("S3", source),
    twoLines("Credentials", (item) => credentials(item, history.last.at)),
  ], "No bucket is configured.");
  return (now) => {
    history = now;
    show(history.last.buckets, ({ bucket }) => bucket);
  };
}

function progress({ sent, length }) {
  if (!length) return [null, `${bytes(sent)} so far`];
  return [sent / length, `${bytes(sent)} of ${bytes(length)}`, percent(Math.min(1, sent / length))];
}

export function streams() {
  let history = null;
  // With an `id` the pace is that of the last seconds, else that of the whole stream.
  const pace = (stream) => {
    const earlier = history.before(WINDOW);
    const before = stream.id === undefined ? null : earlier.streams.find(({ id }) => id === stream.id);
    const time = history.now - earlier.uptime_seconds;
    if (before && time > 0) return Math.max(0, stream.sent - before.sent) / time;
    return stream.seconds > 0 ? stream.sent / stream.seconds : null;
  };
  const left = (stream) => {
    const speed = pace(stream);
    if (!stream.length || !(speed > 0)) return NOTHING;
    return duration((stream.length - stream.sent) / speed);
  };
  const show = table(by("streams"), [
    twoLines("Object", ({ bucket, key, client }) => [key, client ? `${bucket}, to ${client}` : bucket], "long subject"),
    withBar("Sent", progress),
    numeric("Pace", (stream) => byteRate(pace(stream))),
    numeric("For", ({ seconds }) => duration(seconds)),
    numeric("Left", left),
  ], "No large response is running.");
  return (now) => {
    history = now;
    show(history.last.streams, ({ id }, index) => id ?? index);
  };
}

const canHover = matchMedia("(hover: hover)");
const isInUse = (box) => box.matches(":focus-within") || (canHover.matches && box.matches(":hover"));

/** Shows items unless somebody uses the table: rows must not change place under a pointer. */
function held(box, show) {
  const note = make("p", "hint waits", "waits while you are in it");
  note.hidden = true;
  box.append(note);
  return (items, name) => {
    const isHeld = isInUse(box) && box.querySelector("tbody tr") !== null;
    note.hidden = !isHeld;
    if (!isHeld) show(items, name);
  };
}

/** `purge(item)` fills the form that purges. */
export function hottest(purge) {
  const box = by("hottest");
  let most = 0;
  const show = held(box, table(box, [
    twoLines("Object", ({ bucket, key }) => [key, bucket], "long subject"),
    withBar("Requests (est.)", ({ requests }) => [requests / most, exact(requests)]),
    action("Purge…", purge, "action beside"),
  ], "No object has been requested often enough to be counted.", 10));
  return ({ last }) => {
    most = last.hottest[0]?.requests ?? 0;
    show(last.hottest, ({ bucket, key }) => `${bucket}/${key}`);
  };
}

/** `explain(item)` fills the form that explains. */
export function errors(explain) {
  const request = {
    title: "Request id", kind: "id",
    make: () => {
      const button = make("button", "quiet", "Copy");
      button.type = "button";
      const id = make("code");
      button.addEventListener("click", async () => {
        const isCopied = await copy(id.textContent, id);
        text(by("copied"), "");
        text(by("copied"), isCopied ? `Copied ${id.textContent}` : "The browser does not let this page copy.");
        button.textContent = isCopied ? "Copied" : "Not copied";
        setTimeout(() => (button.textContent = "Copy"), 1500);
      });
      return [id, " ", button];
    },
    show: (cell, item) => {
      text(cell.firstChild, item.request_id);
      cell.lastChild.setAttribute("aria-label", `Copy the request id ${item.request_id}`);
    },
  };
  const again = action("Explain", explain, "action beside");
  const box = by("errors");
  const show = held(box, table(box, [
    plain("Time", ({ at }) => clock(at), "brief"),
    plain("Status", ({ status }) => String(status), "brief"),
    twoLines("Request", ({ method, path, bucket }) => [[method, path].filter(Boolean).join(" ") || NOTHING, bucket ?? ""], "long subject"),
    {
      title: "Error", kind: "long words",
      show: (cell, { error }) => {
        if (cell.dataset.error === String(error)) return;
        cell.dataset.error = String(error);
        cell.replaceChildren(...marked(error ?? NOTHING));
      },
    },
    request,
    { ...again, show: (cell, { path }) => (cell.firstChild.hidden = !path) },
  ], "No request has failed.", 8));
  return ({ last }) => show(last.errors, ({ request_id: id, at }) => `${id} ${at}`);
}
