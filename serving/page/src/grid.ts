/** Where a sweep asks, and where an axis has its ticks. */

export const MOST_POINTS = 400;

/** Whether a range is so wide that equal ratios serve it better than equal steps. */
export function isWide(from: number, to: number): boolean {
  return from > 0 && to / from > 20;
}

/** `count` numbers from `from` to `to`, both included; whole and distinct if `whole`. */
export function points(from: number, to: number, count: number, whole: boolean): number[] {
  const steps = Math.max(1, Math.min(count, MOST_POINTS) - 1);
  const wide = isWide(from, to);
  const found = new Set<number>();
  for (let at = 0; at <= steps; at += 1) {
    const share = at / steps;
    const exact = wide ? from * (to / from) ** share : from + (to - from) * share;
    const value = at === 0 ? from : at === steps ? to : exact;
    found.add(whole && at > 0 && at < steps ? Math.round(value) : value);
  }
  return [...found].sort((a, b) => a - b);
}

/** Powers of two within [low, high], thinned evenly to at most `most`. */
export function powersOfTwo(low: number, high: number, most: number): number[] {
  const first = Math.ceil(Math.log2(low) - 1e-9);
  const last = Math.floor(Math.log2(high) + 1e-9);
  const stride = Math.max(1, Math.ceil((last - first + 1) / Math.max(1, most)));
  const ticks: number[] = [];
  for (let power = last; power >= first; power -= stride) ticks.unshift(2 ** power);
  return ticks;
}

/** Round numbers within [low, high] of a logarithmic axis: powers of ten, then 1-2-5 if few. */
export function decades(low: number, high: number, most: number): number[] {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const within = (steps: readonly number[]): number[] => {
    const ticks: number[] = [];
    for (let power = first; power <= last; power += 1) {
      for (const step of steps) {
        const tick = Number(`${step}e${power}`);
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
      }
    }
    return ticks;
  };
  for (const steps of [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 5], [1, 3], [1]]) {
    const ticks = within(steps);
    if (ticks.length <= most) return ticks;
  }
  const powers = within([1]);
  const stride = Math.ceil(powers.length / Math.max(1, most));
  return powers.filter((_, at) => at % stride === 0);
}
