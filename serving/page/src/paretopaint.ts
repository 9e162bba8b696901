/** Draws the points of a Pareto plot, the limits, and the chosen point's intervals. */

import type uPlot from "uplot";
import { faded, type Ink } from "./palette";
import { quantity, type Choice } from "./schema";

const NUMBERED = 9; // so many ranks of the front are written beside their points

export function paint(
  chart: uPlot,
  colours: Ink,
  known: readonly Choice[],
  [x, y]: readonly [string, string],
  limits: readonly [number | null, number | null],
  chosen: Choice | null,
  ranked: readonly Choice[],
): void {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio;
  const across = (value: number): number => chart.valToPos(value, "x", true);
  const upward = (value: number): number => chart.valToPos(value, "y", true);
  const stroke = (path: readonly (readonly [number, number])[], width: number): void => {
    ctx.lineWidth = width * ratio;
    ctx.beginPath();
    path.forEach(([left, top], at) => (at === 0 ? ctx.moveTo(left, top) : ctx.lineTo(left, top)));
    ctx.stroke();
  };
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();

  ctx.strokeStyle = colours.muted;
  ctx.setLineDash([6 * ratio, 4 * ratio]);
  const [limitX, limitY] = limits;
  if (limitX !== null)
    stroke(
      [
        [across(limitX), bbox.top],
        [across(limitX), bbox.top + bbox.height],
      ],
      1,
    );
  if (limitY !== null)
    stroke(
      [
        [bbox.left, upward(limitY)],
        [bbox.left + bbox.width, upward(limitY)],
      ],
      1,
    );
  ctx.setLineDash([]);

  if (chosen && known.includes(chosen)) {
    const [left, top] = [across(quantity(chosen, x) ?? 0), upward(quantity(chosen, y) ?? 0)];
    const ends = (name: string): readonly [number | null, number | null] => [
      quantity(chosen, `${name}_low`),
      quantity(chosen, `${name}_high`),
    ];
    ctx.strokeStyle = colours.text;
    const [xLow, xHigh] = ends(x);
    const [yLow, yHigh] = ends(y);
    if (xLow !== null && xHigh !== null)
      stroke(
        [
          [across(Math.max(xLow, 1e-12)), top],
          [across(xHigh), top],
        ],
        1.5,
      );
    if (yLow !== null && yHigh !== null)
      stroke(
        [
          [left, upward(Math.max(yLow, 1e-12))],
          [left, upward(yHigh)],
        ],
        1.5,
      );
  }

  for (const choice of [...known].sort((a, b) => Number(a.pareto) - Number(b.pareto))) {
    const colour = choice.pareto ? colours.accent : colours.muted;
    const radius = (choice === chosen ? 6.5 : choice.pareto ? 5 : 3.5) * ratio;
    ctx.beginPath();
    ctx.arc(
      across(quantity(choice, x) ?? 0),
      upward(quantity(choice, y) ?? 0),
      radius,
      0,
      2 * Math.PI,
    );
    ctx.fillStyle =
      choice.status === "in_domain"
        ? choice.pareto
          ? colour
          : faded(colour, 0.55)
        : colours.surface;
    ctx.fill();
    ctx.strokeStyle =
      choice === chosen ? colours.text : choice.pareto ? colour : faded(colour, 0.6);
    ctx.lineWidth = (choice === chosen ? 2 : 1.5) * ratio;
    ctx.stroke();
  }
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.fillStyle = colours.text;
  ctx.textBaseline = "middle";
  for (const choice of known) {
    const rank = ranked.indexOf(choice) + 1;
    if (choice !== chosen && !(choice.pareto && rank <= NUMBERED)) continue;
    ctx.strokeStyle = colours.surface;
    ctx.lineWidth = 4 * ratio;
    ctx.strokeText(
      String(rank),
      across(quantity(choice, x) ?? 0) + 8 * ratio,
      upward(quantity(choice, y) ?? 0) - 8 * ratio,
    );
    ctx.fillText(
      String(rank),
      across(quantity(choice, x) ?? 0) + 8 * ratio,
      upward(quantity(choice, y) ?? 0) - 8 * ratio,
    );
  }
  ctx.restore();
}
