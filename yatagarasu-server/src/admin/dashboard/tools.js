// The tools: explain a request, purge objects, show the configuration.

import { ask } from "./api.js";
import { bytes, duration, objects } from "./format.js";
import { by, make, marked, sync, text } from "./dom.js";

/** Shows a failure in place of a result, or asks for a token. */
const failure = (wantsToken) => (place, error) => {
  if (error.wantsToken) wantsToken(error);
  place.replaceChildren(make("span", "why", ...marked(error.message)));
};

// What the decisions of the server mean.
const DECISIONS = {
  serve: "serve what is stored", serve_and_revalidate: "serve what is stored, and ask S3 whether it has changed",
  fill: "fetch the object and store it", join: "wait for the fetch that runs", pass: "ask S3 as the client asks",
  refuse: "refuse", own_answer: "answer by itself", redirect: "redirect", page: "send a page of the website",
  not_found: "not found", preflight: "answer the preflight",
};

function headerLines(lines) {
  return lines.split("\n").filter((line) => line.trim()).map((line) => {
    const [, name, value] = /^([^:\s]+)\s*:\s*(.*?)\s*$/.exec(line) ?? [];
    if (!name) throw new Error(`expected \`Name: value\`, found \`${line}\``);
    return [name, value];
  });
}

function storedLines(stored) {
  const life = (seconds) => duration(seconds);
  const state = stored.fresh_for === null ? `stale for ${life(stored.stale_for)}` : `fresh for another ${life(stored.fresh_for)}`;
  return [
    `${stored.content}, ${bytes(stored.bytes)}`,
    `${life(stored.age)} old, ${state} (of ${life(stored.lifetime)})`,
    `may be served stale for ${life(stored.stale_while_revalidate)} while it is revalidated, `
      + `and for ${life(stored.stale_if_error)} if S3 fails`,
  ];
}

function ruleLines({ key, rules, matching, left_out: leftOut, more_left_out: more, endless }) {
  return [
    rules === null ? `\`${key}\` has not been read yet` : `\`${key}\` has ${rules} rules`,
    matching.length > 0 ? `for this path: line ${matching.join(", ")}` : "none is for this path",
    ...leftOut.map(([line, why]) => `line ${line} is left out: ${why}`),
    ...(more > 0 ? [`${more} further lines are left out`] : []),
    ...(endless.length > 0 ? [`redirects that lead on and on where there are no objects: line ${endless.join(", ")}`] : []),
  ];
}

/** The parts of an answer of POST /explain: a name, and lines of text each. */
function explanationParts(answer) {
  const { decision, status, location, listener, bucket, key, stored, s3, lifetime, rules, notes } = answer;
  const finding = (found) => (found ? [`\`${found.is}\``, found.because] : null);
  return [
    ["Request", [answer.request]],
    ["Decision", [DECISIONS[decision.is] ?? decision.is, decision.because]],
    ["Status", status && [String(status)]],
    ["Location", location && [`\`${location}\``]],
    ["Listener", finding(listener)],
    ["Bucket", finding(bucket)],
    ["Key", finding(key)],
    ["Stored", stored ? storedLines(stored) : bucket && ["nothing"]],
    ["Asked of S3", s3 && [`\`${s3.method} ${s3.url}\``, ...Object.entries(s3.headers).map(([n, v]) => `\`${n}: ${v}\``)]],
    ["Lifetime", lifetime && [lifetime.is, lifetime.because]],
    ...rules.map((file) => ["Rules", ruleLines(file)]),
    ["Notes", notes],
  ].filter(([, lines]) => lines && lines.length > 0);
}

/** Wires the form that explains. Returns a function that fills it and asks. */
export function explain(wantsToken) {
  const result = by("explanation");
  const fail = failure(wantsToken);
  const send = async () => {
    try {
      const order = {
        url: by("explain-url").value.trim(), method: by("explain-method").value,
        headers: headerLines(by("explain-headers").value),
      };
      const answer = await (await ask("/explain", order)).json();
      const list = make("dl", "answer", ...explanationParts(answer).map(([name, lines]) =>
        make("div", "", make("dt", "", name), ...lines.filter(Boolean).map((line) => make("dd", "", ...marked(line))))));
      result.replaceChildren(list);
    } catch (error) {
      fail(result, error);
    }
  };
  by("explain").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  return ({ method, path }) => {
    const methods = by("explain-method");
    methods.value = method ?? "GET";
    if (methods.selectedIndex < 0) methods.value = "GET";
    by("explain-url").value = path;
    by("explain-headers").value = "";
    by("explain-url").focus();
    send();
  };
}

/** Wires the form that purges: first a count, then the purge of the same order. */
export function purge(wantsToken) {
  const [form, bucket, kind, value, soft] = ["purge", "purge-bucket", "purge-by", "purge-value", "purge-soft"].map(by);
  const [result, confirm, go] = ["purge-result", "purge-confirm", "purge-go"].map(by);
  const fail = failure(wantsToken);
  let counted = null; // the order that has been counted
  let turn = 0; // an answer that comes after a change is for another order

  const reset = (message = "") => {
    counted = null;
    turn += 1;
    confirm.hidden = true;
    text(result, message);
  };
  // Keys and prefixes belong to a bucket.
  const fit = () => {
    for (const option of kind.options) option.disabled = !bucket.value && ["key", "prefix"].includes(option.value);
    if (kind.selectedOptions[0]?.disabled) kind.value = "tag";
    const isAll = kind.value === "all";
    by("purge-value-field").hidden = isAll;
    value.required = !isAll;
    text(by("purge-value-label"), { key: "Key", prefix: "Prefix", tag: "Tag" }[kind.value] ?? "");
  };
  const order = () => ({
    ...(bucket.value ? { bucket: bucket.value } : {}),
    [kind.value]: kind.value === "all" ? true : value.value,
    ...(soft.checked ? { soft: true } : {}),
  });
  const run = async (body, done) => {
    const mine = (turn += 1);
    try {
      const answer = await (await ask("/purge", body)).json();
      if (mine === turn) done(answer);
    } catch (error) {
      if (mine === turn) fail(result, error);
    }
  };

  form.addEventListener("input", () => {
    fit();
    reset();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const asked = order();
    reset("Counting …");
    run({ ...asked, dry_run: true }, ({ selected }) => {
      text(result, selected > 0 ? `${objects(selected)} selected.` : "No stored object is selected.");
      if (selected === 0) return;
      counted = asked;
      text(go, asked.soft ? `Mark ${objects(selected)} stale` : `Purge ${objects(selected)}`);
      confirm.hidden = false;
    });
  });
  go.addEventListener("click", () => {
    const chosen = counted;
    // The button goes away, and the focus would be lost with it.
    form.querySelector("button").focus();
    reset("Purging …");
    run(chosen, ({ purged }) => text(result, `${objects(purged)} ${chosen.soft ? "marked stale" : "purged"}.`));
  });
  by("purge-cancel").addEventListener("click", () => {
    form.querySelector("button").focus();
    reset();
  });

  let names = null;
  return {
    /** Offers the buckets that there are. */
    offer: (buckets) => {
      const all = ["", ...buckets.map((one) => one.bucket)];
      if (names === all.join("\n")) return;
      const chosen = names === null ? all[1] ?? "" : bucket.value;
      names = all.join("\n");
      const option = (name) => Object.assign(make("option", "", name || "all buckets"), { value: name });
      sync(bucket, all, (name) => `bucket ${name}`, option, () => {});
      bucket.value = all.includes(chosen) ? chosen : "";
      fit();
      reset();
    },
    /** Fills the form with an object, and counts nothing yet. */
    fill: (item) => {
      bucket.value = item.bucket;
      kind.value = "key";
      value.value = item.key;
      fit();
      reset();
      form.querySelector("button").focus();
    },
  };
}

/** Wires the configuration, which is loaded when it is opened. */
export function configuration(wantsToken) {
  const [state, shown] = [by("config-state"), by("config-text")];
  const fail = failure(wantsToken);
  const load = async () => {
    text(state, "Loading …");
    try {
      text(shown, await (await ask("/config")).text());
      text(state, "Loaded. Secrets are shown as ***.");
    } catch (error) {
      fail(state, error);
    }
  };
  by("config").addEventListener("toggle", () => by("config").open && load());
  by("config-again").addEventListener("click", load);
}
