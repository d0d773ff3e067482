import {
  type Column,
  columnResizingFeature,
  columnSizingFeature,
  columnVisibilityFeature,
  createColumnHelper,
  createSortedRowModel,
  type Header,
  type Row,
  rowSortingFeature,
  type SortingState,
  tableFeatures,
  useTable,
} from '@tanstack/react-table';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useMemo, useRef } from 'react';
import { itemById } from '../entities';
import { isFiltering, matches } from '../filter';
import { useLayers, useNetwork } from '../live';
import { CONDITIONS } from '../network/condition';
import { fieldName, formatField } from '../panels/facts';
import { AsOf } from '../parts/as-of';
import { EntityLink } from '../parts/link';
import { useText } from '../preferences';
import { Mark } from '../ui/mark';
import { StateBox } from '../ui/state-box';
import { resetFilter, setView, useView } from '../view';
import { compareValues, fieldKeys, rowOf, type TableRow, tableItems } from './columns';
import { TableTools } from './tools';

const ROW_HEIGHT = 34;
/** Rows rendered beyond the visible ones, so that scrolling shows no gap. */
const OVERSCAN = 12;

const features = tableFeatures({
  columnSizingFeature,
  columnResizingFeature,
  columnVisibilityFeature,
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
});
export type Features = typeof features;

const helper = createColumnHelper<Features, TableRow>();

/** Table of a layer: a column for each fact, and only the visible rows in the document. */
export default function Table() {
  const text = useText();
  const { t } = text;
  const { layer, filter, sort, hidden } = useView();
  const layers = useLayers();
  const { conditionOf } = useNetwork();
  const rows = useMemo(
    () =>
      tableItems(layers, layer)
        .filter((item) => matches(filter, item, conditionOf))
        .map((item) => rowOf(layers, item)),
    [layers, layer, filter, conditionOf],
  );
  const keys = fieldKeys(rows).join();
  const columns = useColumns(keys);
  const sorting = useMemo(
    (): SortingState => (sort ? [{ id: sort.replace(/^-/, ''), desc: sort.startsWith('-') }] : []),
    [sort],
  );
  const columnVisibility = useMemo(() => Object.fromEntries(hidden.map((id) => [id, false])), [hidden]);
  const table = useTable({
    features,
    columns,
    data: rows,
    getRowId: ({ item }: TableRow) => item.id,
    columnResizeMode: 'onChange',
    state: { sorting, columnVisibility },
    onSortingChange: (update) => {
      const [first] = typeof update === 'function' ? update(sorting) : update;
      setView({ sort: first ? `${first.desc ? '-' : ''}${first.id}` : null }, false);
    },
  });
  const scroller = useRef<HTMLElement>(null);
  const sorted = table.getRowModel().rows;
  const virtual = useVirtualizer({
    count: sorted.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: OVERSCAN,
  });
  const shown = virtual.getVirtualItems();
  const before = shown[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (shown.at(-1)?.end ?? 0);
  const visible = table.getVisibleLeafColumns();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be focusable by keyboard
    <section className="table" aria-label={t('map.table')} tabIndex={0} ref={scroller}>
      <table aria-rowcount={sorted.length + 1} style={{ width: table.getTotalSize() }}>
        <caption>
          {t('table.caption', { layer: t(layer), count: sorted.length })}
          <AsOf />
          <TableTools table={table} rows={sorted} />
        </caption>
        <colgroup>
          {visible.map((column) => (
            <col key={column.id} style={{ width: column.getSize() }} />
          ))}
        </colgroup>
        <thead>
          <tr aria-rowindex={1}>
            {table.getFlatHeaders().map((header) => (
              <HeaderCell key={header.id} header={header} />
            ))}
          </tr>
        </thead>
        <tbody>
          {before > 0 && <Gap height={before} columns={visible.length} />}
          {shown.map(({ index }) => {
            const row = sorted[index];
            return row && <BodyRow key={row.id} row={row} index={index} columns={visible} />;
          })}
          {after > 0 && <Gap height={after} columns={visible.length} />}
        </tbody>
      </table>
      {sorted.length === 0 && <TableState />}
    </section>
  );
}

/** State of a table without rows. */
function TableState() {
  const { t } = useText();
  const { layer, filter } = useView();
  const layers = useLayers();
  if (layers === null) return <StateBox icon="loading">{t('map.loading')}</StateBox>;
  return isFiltering(filter) ? (
    <StateBox
      icon="filter"
      action={
        <button type="button" onClick={resetFilter}>
          {t('filter.clear')}
        </button>
      }
    >
      {t('table.nomatch')}
    </StateBox>
  ) : (
    <StateBox icon={layer}>{t(`map.empty.${layer}`)}</StateBox>
  );
}

/** Space of the rows that are not rendered. */
const Gap = ({ height, columns }: { height: number; columns: number }) => (
  // biome-ignore lint/a11y/noAriaHiddenOnFocusable: the row cannot be focused
  <tr className="gap" aria-hidden="true">
    <td colSpan={columns} style={{ height }} />
  </tr>
);

function useColumns(keys: string) {
  const text = useText();
  const layers = useLayers();
  const { conditionOf } = useNetwork();
  // Accessors read the current map without making new columns, which would lose their widths.
  const current = useRef({ layers, conditionOf });
  current.current = { layers, conditionOf };
  return useMemo(() => {
    const { language, t, maybe } = text;
    const byValue = (a: Row<Features, TableRow>, b: Row<Features, TableRow>, id: string) =>
      compareValues(a.getValue(id), b.getValue(id), language);
    const home = ({ item }: TableRow) =>
      item.type === 'microdao' || item.microdaoId === null
        ? undefined
        : itemById(current.current.layers, item.microdaoId)?.label;
    const column = (id: string, header: string, size: number, read: (row: TableRow) => unknown) =>
      helper.accessor(read, { id, header, size, sortFn: byValue, sortUndefined: 'last' });
    return helper.columns([
      column('name', t('table.name'), 200, ({ item }) => item.label),
      column('condition', t('table.status'), 120, ({ item }) =>
        CONDITIONS.indexOf(current.current.conditionOf(item.id)),
      ),
      column('kind', t('table.type'), 120, ({ item }) => maybe(`type.${item.kind}`, item.kind)),
      column('microdao', t('table.microdao'), 170, home),
      ...keys
        .split(',')
        .filter((key) => key !== '' && key !== 'kind')
        .map((key) => column(key, fieldName(key, text), 130, ({ fields }) => fields.get(key))),
    ]);
  }, [keys, text]);
}

function HeaderCell({ header }: { header: Header<Features, TableRow, unknown> }) {
  const { t } = useText();
  const { column } = header;
  const order = column.getIsSorted();
  return (
    <th scope="col" aria-sort={order === 'asc' ? 'ascending' : order === 'desc' ? 'descending' : undefined}>
      <button type="button" className="sort" onClick={column.getToggleSortingHandler()}>
        {String(column.columnDef.header)}
        <span aria-hidden="true">{order === 'asc' ? ' ↑' : order === 'desc' ? ' ↓' : ''}</span>
      </button>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: widths are also resettable by double click; the keyboard needs none */}
      <span
        className="resize"
        title={t('table.resize')}
        onMouseDown={header.getResizeHandler()}
        onTouchStart={header.getResizeHandler()}
        onDoubleClick={() => column.resetSize()}
      />
    </th>
  );
}

interface BodyRowProps {
  row: Row<Features, TableRow>;
  index: number;
  columns: readonly Column<Features, TableRow, unknown>[];
}

function BodyRow({ row, index, columns }: BodyRowProps) {
  const text = useText();
  const { conditionOf } = useNetwork();
  const { item } = row.original;
  return (
    <tr aria-rowindex={index + 2}>
      {columns.map(({ id }) => {
        const value = row.getValue(id);
        if (id === 'name') {
          return (
            <th key={id} scope="row">
              <EntityLink id={item.id} item={item}>
                {item.label}
              </EntityLink>
            </th>
          );
        }
        if (id === 'condition') {
          return (
            <td key={id}>
              <Mark condition={conditionOf(item.id)} />
            </td>
          );
        }
        const shown = value === undefined ? '' : formatField(id, value, text);
        return (
          <td key={id} className={typeof value === 'number' ? 'number' : undefined} title={shown}>
            {shown}
          </td>
        );
      })}
    </tr>
  );
}
