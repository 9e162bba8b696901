/** Numbers with their units, and names as people read them. */

const MINUS = "\u2212";
const NARROW = "\u202f"; // narrow no-break space, between a number and its unit

/** `value` to `digits` significant digits, thousands grouped; a dash where there is none. */
export function number(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "\u2013";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e9) {
    return value
      .toExponential(digits - 1)
      .replace("e+", "e")
      .replace(/-/g, MINUS);
  }
  const magnitude = Math.floor(Math.log10(size));
  const decimals = Math.max(0, digits - 1 - magnitude);
  return value
    .toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
    .replace("-", MINUS);
}

/** `value` and its unit, kept on one line. */
export function withUnit(
  value: number | null | undefined,
  unit: string | null,
  digits = 4,
): string {
  const text = number(value, digits);
  return unit && text !== "\u2013" ? `${text}${NARROW}${unit}` : text;
}

/** A number that someone chose, as they chose it, and its unit. */
export function exact(value: number | null, unit: string | null): string {
  if (value === null) return "\u2013";
  const text = value.toLocaleString("en", { maximumSignificantDigits: 9 }).replace("-", MINUS);
  return unit ? `${text}${NARROW}${unit}` : text;
}

/** An interval, its ends to as many digits as tell them apart. */
export function interval(low: number | null, high: number | null, digits = 3): string {
  if (low === null || high === null) return "\u2013";
  return `${number(low, digits)} to ${number(high, digits)}`;
}

/** A whole number, grouped. */
export function count(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: 0 });
}

/** A fraction as a percentage. */
export function percent(fraction: number): string {
  return `${number(fraction * 100, 3).replace(/\.0+$/, "")}${NARROW}%`;
}

/** `latency_ms` in ms is "latency": the unit is shown beside the number. */
export function label(name: string, unit: string | null = null): string {
  const suffix = `_${(unit ?? "").toLowerCase()}`;
  const stem = unit && name.toLowerCase().endsWith(suffix) ? name.slice(0, -suffix.length) : name;
  return stem.replaceAll("_", " ");
}

const STATUS_WORDS: Readonly<Record<string, string>> = {
  in_domain: "in domain",
  extrapolated: "extrapolated",
  out_of_domain: "no answer",
};

const STATUS_MEANING: Readonly<Record<string, string>> = {
  in_domain: "like what the model was tested on",
  extrapolated: "beyond what was measured; the reasons say how",
  out_of_domain: "nothing that was measured supports an answer",
};

export function statusWord(status: string): string {
  return STATUS_WORDS[status] ?? label(status);
}

export function statusMeaning(status: string): string {
  return STATUS_MEANING[status] ?? "";
}
