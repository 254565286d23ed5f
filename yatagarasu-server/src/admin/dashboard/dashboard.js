// The dashboard of a gateway: follows GET /live, and shows its numbers. This file wires the parts together:
//
// - dashboard/stream.js and api.js talk to the server, history.js computes rates from totals;
// - tiles.js, chart.js and panels.js show them, tools.js has the forms;
// - format.js and dom.js write numbers and elements.

import { hasToken, useToken } from "./dashboard/api.js";
import { Chart } from "./dashboard/chart.js";
import { by, marked, text } from "./dashboard/dom.js";
import { byteRate, clock, count, duration, NOTHING } from "./dashboard/format.js";
import { History, OUTCOMES, requests } from "./dashboard/history.js";
import * as panels from "./dashboard/panels.js";
import { follow } from "./dashboard/stream.js";
import { tiles } from "./dashboard/tiles.js";
import * as tools from "./dashboard/tools.js";

const history = new History();
let stream = null;

function charts() {
  const all = [
    new Chart(by("requests-chart"), {
      what: "Requests a second by outcome", stacked: true, total: "total",
      series: OUTCOMES.map((field) => ({ field, label: field })),
      format: (value) => (Number.isFinite(value) ? count(value) : NOTHING),
    }),
    new Chart(by("bytes-chart"), {
      what: "Bytes a second",
      series: [{ field: "fetched", label: "from S3" }, { field: "sent", label: "to clients" }],
      format: (value) => (Number.isFinite(value) ? byteRate(value) : NOTHING),
    }),
  ];
  addEventListener("resize", () => all.forEach((chart) => chart.draw()));
  return (shown) => all.forEach((chart) => chart.draw(shown));
}

/** Shows what to try as long as nobody has asked for anything. */
function firstSteps({ last }) {
  const isEmpty = requests(last) === 0;
  by("no-request").hidden = !isEmpty;
  if (!isEmpty || by("no-request").hasChildNodes()) return;
  const { hosts, path_prefix: prefix } = last.buckets[0] ?? { hosts: [], path_prefix: "" };
  const url = `http://${hosts[0] ?? "GATEWAY"}${prefix.replace(/\/$/, "")}/KEY`;
  by("no-request").replaceChildren(...marked(`No request yet: try \`curl -i ${url}\`.`));
}

function facts({ last }) {
  text(by("version"), last.version);
  text(by("uptime"), `up ${duration(last.uptime_seconds)}`);
}

// The forms must not lose what is in them when another token is asked for, so that the board is only hidden.
function showSignIn(error) {
  stream?.stop();
  stream = null;
  setState("signed-out", "not signed in");
  by("banner").hidden = true;
  by("board").hidden = true;
  by("sign-in").hidden = false;
  by("sign-out").hidden = true;
  document.title = "Sign in – Yatagarasu";
  // A server without a token may refuse the name in the URL. No token helps then, but what it says.
  const isForToken = error.status === 401 && !error.message.includes("no token is configured");
  const why = !isForToken ? error.message : hasToken() ? "This token is wrong." : "";
  by("sign-in-why").replaceChildren(...marked(why));
  useToken(null);
  by("token").value = "";
  by("token").focus();
}

// A change is read out, so that the text must be the same as long as nothing changes.
function setState(state, words) {
  by("state").dataset.state = state;
  text(by("state"), words);
}

const shows = [facts, firstSteps, tiles(), charts(), panels.buckets(), panels.streams()];

function show() {
  if (!history.last) return;
  const [pace] = history.points.slice(-1);
  document.title = pace ? `${count(pace.total)} requests/s – Yatagarasu` : "Yatagarasu";
  // Nobody sees a page in the background, but its title.
  if (!document.hidden) for (const part of shows) part(history);
}

function snapshot(next) {
  history.add(next);
  setState("live", "live");
  by("banner").hidden = true;
  by("sign-in").hidden = true;
  by("board").hidden = false;
  by("sign-out").hidden = !hasToken();
  show();
}

function lost(reason) {
  setState("lost", "no connection, trying again");
  document.title = "no connection – Yatagarasu";
  const since = history.last ? `The numbers below are those of ${clock(history.last.at)}.` : "The server does not answer.";
  by("banner").hidden = false;
  text(by("banner"), reason ? `The server says: ${reason}. ${since}` : since);
}

function start() {
  stream?.stop();
  stream = follow({ snapshot, lost, refused: showSignIn });
}

function wire() {
  const explain = tools.explain(showSignIn);
  const purge = tools.purge(showSignIn);
  tools.configuration(showSignIn);
  shows.push(panels.hottest(purge.fill), panels.errors(explain), ({ last }) => purge.offer(last.buckets));
  document.addEventListener("visibilitychange", show);
  by("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    useToken(by("token").value.trim());
    setState("connecting", "connecting");
    text(by("sign-in-why"), "");
    start();
  });
  by("sign-out").addEventListener("click", () => {
    useToken(null);
    // The next one at this screen must not find the numbers.
    history.forget();
    location.reload();
  });
}

wire();
start();
