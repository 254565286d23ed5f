// Keeps the snapshots of a minute and the rates of five, and computes what the page shows from their differences.
// Times are `uptime_seconds`: unlike the time of day they never jump.

export const OUTCOMES = ["hit", "revalidated", "stale", "joined", "miss", "pass", "own"];
const HITS = ["hit", "revalidated", "stale", "joined"];
const FROM_CACHE_OR_S3 = OUTCOMES.filter((outcome) => outcome !== "own");

/** The seconds that charts show at most, and what they show before so much is known. */
const SPAN = 300;
const SHORT_SPANS = [60, 120];
const SNAPSHOTS_SPAN = 60;
/** The seconds that ratios and percentiles are about. */
export const WINDOW = 10;

const part = (some, all) => (all > 0 ? some / all : null);
const sum = (numbers, names) => names.reduce((total, name) => total + (numbers[name] || 0), 0);
export const requests = (snapshot) => sum(snapshot.requests, OUTCOMES);
export const sentBytes = (snapshot) => sum(snapshot.bytes, OUTCOMES);
const hits = (snapshot) => sum(snapshot.requests, HITS);
const forObjects = (snapshot) => sum(snapshot.requests, FROM_CACHE_OR_S3);
const bytesOfHits = (snapshot) => sum(snapshot.bytes, HITS);
const bytesOfObjects = (snapshot) => sum(snapshot.bytes, FROM_CACHE_OR_S3);

/** What S3 was not asked for, in money. A revalidation, a retry or a probe is a request to S3 as well. */
export function saved(snapshot) {
  const { prices, source } = snapshot;
  const spared = Math.max(0, forObjects(snapshot) - source.requests);
  const sparedBytes = Math.max(0, sentBytes(snapshot) - source.bytes);
  return spared * prices.request + (sparedBytes / 1e9) * prices.gigabyte;
}

/** Quantiles of what was counted between two histograms, by interpolation within a bucket. `null` if nothing was. */
export function quantiles(bounds, before, after, wanted) {
  const counts = after.map((number, index) => Math.max(0, number - (before?.[index] || 0)));
  const total = counts.reduce((a, b) => a + b, 0);
  if (total === 0) return null;
  return wanted.map((quantile) => {
    let rest = quantile * total;
    const index = counts.findIndex((number) => {
      if (number > 0 && rest <= number) return true;
      rest -= number;
      return false;
    });
    // The last bucket has no upper bound.
    if (index < 0 || index >= bounds.length) return bounds[bounds.length - 1];
    const low = index === 0 ? 0 : bounds[index - 1];
    return low + (bounds[index] - low) * (rest / counts[index]);
  });
}

function isRestarted(last, next) {
  return next.uptime_seconds < last.uptime_seconds;
}

export class History {
  constructor() {
    this.forget();
  }

  forget() {
    this.snapshots = [];
    this.points = [];
  }

  get last() {
    return this.snapshots[this.snapshots.length - 1];
  }

  get now() {
    return this.last.uptime_seconds;
  }

  /** The seconds that charts show. */
  get span() {
    const known = this.points.length > 0 ? this.now - this.points[0].time : 0;
    return SHORT_SPANS.find((span) => known <= span) ?? SPAN;
  }

  add(snapshot) {
    const before = this.last;
    if (before && isRestarted(before, snapshot)) this.forget();
    if (this.last?.uptime_seconds === snapshot.uptime_seconds) return;
    this.snapshots.push(snapshot);
    while (this.now - this.snapshots[0].uptime_seconds > SNAPSHOTS_SPAN + 0.5) this.snapshots.shift();
    if (this.snapshots.length > 1) this.points.push(this.point());
    while (this.points.length > 0 && this.now - this.points[0].time > SPAN + 2) this.points.shift();
  }

  /** The oldest snapshot that is no older than so many seconds, but never the last one, unless it is alone. */
  before(seconds) {
    const from = this.snapshots.findIndex((one) => this.now - one.uptime_seconds <= seconds + 0.5);
    return this.snapshots[Math.max(0, Math.min(from, this.snapshots.length - 2))];
  }

  /** How much a total has grown in a second, on average over so many seconds. `null` before the second snapshot. */
  rate(total, seconds = 1) {
    const from = this.before(seconds);
    const time = this.now - from.uptime_seconds;
    return time > 0 ? Math.max(0, total(this.last) - total(from)) / time : null;
  }

  /** One total as a part of another one, over so many seconds. `null` if there was nothing. */
  ratio(part, whole, seconds = WINDOW) {
    const from = this.before(seconds);
    const all = whole(this.last) - whole(from);
    return all > 0 ? Math.min(1, Math.max(0, part(this.last) - part(from)) / all) : null;
  }

  hitRatio = () => this.ratio(hits, forObjects);
  byteHitRatio = () => this.ratio(bytesOfHits, bytesOfObjects);
  hitRatioInAll = () => part(hits(this.last), forObjects(this.last));
  byteHitRatioInAll = () => part(bytesOfHits(this.last), bytesOfObjects(this.last));

  /** The p50, p90, p99 and p99.9 of the times to the first byte, `memory` or `source`. */
  latency(kind) {
    const { bounds, [kind]: counts } = this.last.latency;
    return quantiles(bounds, this.before(WINDOW).latency[kind], counts, [0.5, 0.9, 0.99, 0.999]);
  }

  /** What the charts and the small curves show of this second. */
  point() {
    const { last } = this;
    const point = {
      time: this.now,
      at: last.at,
      total: this.rate(requests),
      sent: this.rate(sentBytes),
      fetched: this.rate((one) => one.source.bytes),
      asked: this.rate((one) => one.source.requests),
      failures: this.rate((one) => one.statuses["5xx"]),
      hitRatio: this.hitRatio(),
      byteHitRatio: this.byteHitRatio(),
      saved: saved(last),
      memory: this.latency("memory")?.[2],
      source: this.latency("source")?.[2],
      open: last.connections.open,
      running: last.running,
      resident: last.memory.resident_bytes,
    };
    for (const outcome of OUTCOMES) point[outcome] = this.rate((one) => one.requests[outcome]);
    return point;
  }
}

