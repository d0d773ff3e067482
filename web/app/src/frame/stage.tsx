import { lazy, Suspense } from 'react';
import { Filters } from '../filters';
import { Legend } from '../picture/legend';
import { Picture } from '../picture/picture';
import { useText } from '../preferences';
import { Segments } from '../ui/segments';
import { setView, useView } from '../view';
import { Welcome } from './welcome';

/** Loaded when it is first shown. */
const Table = lazy(() => import('../table/table'));

/** The layer as a picture or as a table, with what belongs to it. */
export function Stage() {
  const { t } = useText();
  const { table, layer } = useView();
  return (
    <>
      {table ? (
        <Suspense fallback={<section className="table" aria-busy="true" />}>
          <Table key={layer} />
        </Suspense>
      ) : (
        <Picture />
      )}
      <div className="stage-tools">
        <Segments
          label={t('map.view')}
          value={table ? 'table' : 'map'}
          options={[
            { value: 'map', label: t('map.picture'), icon: 'map' },
            { value: 'table', label: t('map.table'), icon: 'table' },
          ]}
          onChange={(value) => setView({ table: value === 'table' })}
        />
        <Filters />
      </div>
      <Welcome />
      <Legend layer={layer} />
    </>
  );
}
