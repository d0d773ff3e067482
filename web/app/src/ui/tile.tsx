/** Figures with their names. */
export function Tiles({ figures }: { figures: readonly { name: string; value: string }[] }) {
  return (
    <dl className="tiles">
      {figures.map(({ name, value }) => (
        <div key={name} className="tile">
          <dt title={name}>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
