import type { EventFrame, Layers } from '@living-map/react';
import { expect, test } from 'vitest';
import { entityIn, seriesOf } from '../src/panels/values';
import { type RecordedFrame, Recording } from '../src/replay/recording';

const node = (cpu: number, temperature: number) => ({
  id: 'node:1',
  name: 'One',
  status: 'online',
  metrics: { cpu, temperature },
});
const layers = { nodes: { items: [node(0.1, 60)] } } as unknown as Layers;

function load(second: number, cpu: number): RecordedFrame {
  const patch = { metrics: { cpu } };
  const changes = [{ op: 'upsert', layer: 'nodes', type: 'node', id: 'node:1', patch }];
  const frame = { cursor: `1.${second}`, changes } as unknown as EventFrame;
  return { logged_at: new Date(second * 1000).toISOString(), frame };
}

test('the numbers of an entity that changed, with the times of their changes', () => {
  const recording = new Recording({ layers, cursor: '1.0', time: 0 });
  recording.append([load(1, 0.4), load(2, 0.4), load(3, 0.9)]);
  expect(seriesOf(recording, 'node:1')).toEqual([
    {
      field: 'cpu',
      points: [
        { time: 0, value: 0.1 },
        { time: 1000, value: 0.4 },
        { time: 3000, value: 0.9 },
      ],
    },
  ]);
  expect(seriesOf(recording, 'node:2')).toEqual([]);
  expect(entityIn(recording.layersAt(recording.ordinalAt(2500)), 'node:1')?.data).toMatchObject({
    metrics: { cpu: 0.4 },
  });
});
