/** Bar chart, scaled to the largest count. */
export function BarChart({ counts, label }: { counts: readonly number[]; label: string }) {
  const most = Math.max(1, ...counts);
  const d = counts
    .map((count, at) =>
      count > 0 ? `M${at + 0.1} 1V${(1 - Math.max(0.06, count / most)).toFixed(3)}H${at + 0.9}V1Z` : '',
    )
    .join('');
  return (
    <svg className="bars" viewBox={`0 0 ${counts.length} 1`} preserveAspectRatio="none" role="img" aria-label={label}>
      <path d={d} />
    </svg>
  );
}
