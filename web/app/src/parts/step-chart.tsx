/** Line chart of a value that holds until the next point. */

interface StepChartProps {
  points: readonly { readonly time: number; readonly value: number }[];
  from: number;
  to: number;
  /** A marked time (ms). */
  mark: number;
  /** The chart in words. */
  label: string;
}

/** Units of the drawing, which is stretched to its place. */
const WIDTH = 1000;
const HEIGHT = 100;
/** Space above the largest and below the smallest value. */
const MARGIN = 6;

export function StepChart({ points, from, to, mark, label }: StepChartProps) {
  const values = points.map(({ value }) => value);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const x = (time: number) => (((time - from) / (to - from)) * WIDTH).toFixed(1);
  const y = (value: number) =>
    (HEIGHT - MARGIN - ((value - least) / (most - least || 1)) * (HEIGHT - 2 * MARGIN)).toFixed(1);
  const d = points.map(({ time, value }, at) => (at === 0 ? `M${x(time)} ${y(value)}` : `H${x(time)}V${y(value)}`));
  return (
    <svg
      className="step-chart"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <path className="step-mark" d={`M${x(mark)} 0V${HEIGHT}`} />
      <path d={`${d.join('')}H${WIDTH}`} />
    </svg>
  );
}
