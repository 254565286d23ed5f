// Turns numbers into short text with units. All texts are English, as the page is.

// A unit stays with its number at the end of a line.
const SPACE = "\u00a0";
export const NOTHING = "–";

// At most three digits, and no zeros behind the point that say nothing.
function short(value) {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

function scaled(value, base, units, gap) {
  let index = 0;
  // 999.6 would be written as 1000.
  while (index < units.length - 1 && value >= base - 0.5) {
    value /= base;
    index += 1;
  }
  return units[index] ? short(value) + gap + units[index] : short(value);
}

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** 999, 12.3k, 4.56M */
export const count = (value) => (known(value) ? scaled(value, 1000, ["", "k", "M", "G", "T"], "") : NOTHING);

/** 12.3 kB */
export const bytes = (value) =>
  known(value) ? scaled(value, 1000, ["B", "kB", "MB", "GB", "TB", "PB"], SPACE) : NOTHING;

export const byteRate = (value) => (known(value) ? `${bytes(value)}/s` : NOTHING);

/** 85 µs, 1.2 ms, 3 s. More digits would be those of the interpolation. */
export function latency(seconds) {
  if (!known(seconds)) return NOTHING;
  const power = 10 ** (Math.floor(Math.log10(Math.max(seconds, 1e-7))) - 1);
  seconds = Math.round(seconds / power) * power;
  if (seconds < 0.9995) return scaled(seconds * 1e6, 1000, ["µs", "ms"], SPACE);
  return short(seconds) + SPACE + "s";
}

/** The two largest units: 3 d 4 h, 12 min 5 s */
export function duration(seconds) {
  if (!known(seconds)) return NOTHING;
  let rest = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [length, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const number = Math.floor(rest / length);
    rest -= number * length;
    if (number > 0) parts.push(number + SPACE + unit);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || `0${SPACE}s`;
}

/** 99.97% is 99.9%: only what is complete is 100%. */
export function percent(ratio) {
  if (!known(ratio)) return NOTHING;
  // The small number undoes what binary fractions lose: 0.58 * 1000 is 579.99...
  return `${Math.floor(ratio * 1000 + 1e-9) / 10}%`;
}

export function money(value, currency) {
  if (!known(value)) return NOTHING;
  const style = value >= 1e6 ? { notation: "compact", maximumFractionDigits: 2 }
    : value >= 1000 ? { maximumFractionDigits: 0 }
    : value >= 0.01 || value === 0 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 }
    : { maximumSignificantDigits: 2 };
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency, ...style }).format(value);
  } catch {
    // The currency is what somebody has configured.
    return `${new Intl.NumberFormat("en", style).format(value)}${SPACE}${currency}`;
  }
}

/** A ratio since the start. */
export const inAll = (ratio) => (ratio === null ? "nothing yet" : `${percent(ratio)} in all`);

/** 1,234,567 */
export const exact = (value) => (known(value) ? value.toLocaleString("en") : NOTHING);

export const objects = (number) => `${exact(number)} ${number === 1 ? "object" : "objects"}`;

/** The local time, with the day if that is not today. */
export function clock(seconds) {
  const date = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}
