import { Popover } from '@base-ui/react/popover';
import type { ReactTable, Row } from '@tanstack/react-table';
import { useNetwork } from '../live';
import { formatField } from '../panels/facts';
import { useText } from '../preferences';
import { setView, useView } from '../view';
import { csvOf, type TableRow } from './columns';
import type { Features } from './table';

interface TableToolsProps {
  table: ReactTable<Features, TableRow>;
  /** The rows in the displayed order. */
  rows: readonly Row<Features, TableRow>[];
}

/** Choice of columns, and download of what is shown. */
export function TableTools({ table, rows }: TableToolsProps) {
  const text = useText();
  const { t } = text;
  const { hidden, layer } = useView();
  const { conditionOf } = useNetwork();
  const headerOf = (id: string) => String(table.getColumn(id)?.columnDef.header ?? id);
  const download = () => {
    const ids = table.getVisibleLeafColumns().map(({ id }) => id);
    const cell = (row: Row<Features, TableRow>, id: string) => {
      if (id === 'condition') return t(`condition.${conditionOf(row.original.item.id)}`);
      const value = row.getValue(id);
      // Numbers stay numbers, so that a spreadsheet can use them.
      if (value === undefined || typeof value === 'number') return String(value ?? '');
      return formatField(id, value, text);
    };
    const lines = [['id', ...ids.map(headerOf)], ...rows.map((row) => [row.id, ...ids.map((id) => cell(row, id))])];
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([csvOf(lines)], { type: 'text/csv' }));
    link.download = `${layer}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <span className="table-tools">
      <Popover.Root>
        <Popover.Trigger>{t('table.columns')}</Popover.Trigger>
        <Popover.Portal>
          <Popover.Positioner align="end" sideOffset={6}>
            <Popover.Popup className="popup columns">
              <Popover.Title className="unseen">{t('table.columns')}</Popover.Title>
              {table.getAllLeafColumns().map(({ id }) => (
                <label key={id}>
                  <input
                    type="checkbox"
                    checked={!hidden.includes(id)}
                    disabled={id === 'name'}
                    onChange={() =>
                      setView(
                        { hidden: hidden.includes(id) ? hidden.filter((other) => other !== id) : [...hidden, id] },
                        false,
                      )
                    }
                  />
                  {headerOf(id)}
                </label>
              ))}
            </Popover.Popup>
          </Popover.Positioner>
        </Popover.Portal>
      </Popover.Root>
      <button type="button" onClick={download}>
        CSV
      </button>
    </span>
  );
}
