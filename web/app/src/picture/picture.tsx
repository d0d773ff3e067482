import { useEffect, useMemo, useRef, useState } from 'react';
import { itemById } from '../entities';
import { diagramOf } from '../layout/diagram';
import { useIsLost, useLayers, useNetwork } from '../live';
import { prefersReducedMotion, usePreferences, useText } from '../preferences';
import { flights, type Move, moves, ripples } from '../signals';
import { useTravel } from '../travel';
import type { IconName } from '../ui/icon';
import { Mark } from '../ui/mark';
import { StateBox } from '../ui/state-box';
import { moveCamera, setView, useView } from '../view';
import { Controls } from './controls';
import { useInsets } from './insets';
import { Scene, type Target } from './scene';

const ARROWS: Record<string, Move> = { ArrowLeft: 'left', ArrowRight: 'right', ArrowUp: 'up', ArrowDown: 'down' };
const DIRECTIONS: Partial<Record<Move, [number, number]>> = { left: [-1, 0], right: [1, 0], up: [0, -1], down: [0, 1] };
/** Maximum pointer movement of a click (px). */
const CLICK_REACH = 5;

/** Marks the drawing state in the DOM, for benchmarks and tests. */
function onFirstPaint() {
  document.documentElement.dataset.picture = 'first';
}

function onDraw(isStill: boolean) {
  document.documentElement.dataset.picture = isStill ? 'still' : 'moving';
}

/** State of the layer, in the middle of the scene. */
const OverMap = ({ icon, children }: { icon: IconName; children: string }) => (
  <div className="over-map">
    <StateBox icon={icon}>{children}</StateBox>
  </div>
);

export function Picture() {
  const host = useRef<HTMLDivElement>(null);
  const scene = useRef<Scene | null>(null);
  const pressed = useRef<{ x: number; y: number } | null>(null);
  const [hovered, setHovered] = useState<Target | null>(null);
  const [hasFailed, setFailed] = useState(false);
  const { layer, filter, entity, camera } = useView();
  const { theme } = usePreferences();
  const { t } = useText();
  const layers = useLayers();
  const network = useNetwork();
  const insets = useInsets(host);
  const { error } = useTravel();

  useEffect(() => {
    if (!host.current) return;
    const created = new Scene(
      host.current,
      {
        onHover: setHovered,
        onOpen: (id) => setView({ entity: id }),
        onCamera: moveCamera,
        onFirstPaint,
        onDraw,
        onFail: () => setFailed(true),
      },
      prefersReducedMotion,
    );
    scene.current = created;
    const move = (direction: Move) => {
      const [dx, dy] = DIRECTIONS[direction] ?? [];
      if (direction === 'fit') created.fit();
      else if (dx === undefined || dy === undefined) created.zoomBy(direction === 'in' ? 0.75 : -0.75);
      else {
        const id = created.next(dx, dy);
        if (id === null) return;
        setView({ entity: id }, false);
        created.reveal(id);
      }
    };
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const repaint = () => created.repaint();
    dark.addEventListener('change', repaint);
    const leave = [
      flights.listen((id) => created.flyTo(id)),
      ripples.listen((ids) => {
        for (const id of ids) created.touch(id);
      }),
      moves.listen(move),
      () => dark.removeEventListener('change', repaint),
      () => created.close(),
    ];
    return () => {
      scene.current = null;
      for (const end of leave) end();
    };
  }, []);

  useEffect(() => scene.current?.setInsets(insets), [insets]);
  useEffect(() => scene.current?.show(layers, network, layer), [layers, network, layer]);
  const noneLabel = t(layer === 'space' ? 'group.none.space' : 'group.none');
  useEffect(() => scene.current?.setSelection(filter, entity, noneLabel), [filter, entity, noneLabel]);
  // Effects run after the theme is applied to the document, from which the colours are read.
  const isLost = useIsLost();
  const look = `${theme} ${isLost}`;
  useEffect(() => {
    if (look) scene.current?.repaint();
  }, [look]);
  // Without a camera in the address, show the microDAO or the entity that it names; a clicked one is visible already.
  const isNew = useRef(true);
  const isPlaced = useRef(camera !== null);
  const { microdao } = filter;
  useEffect(() => {
    if (microdao === null) return;
    if (!isPlaced.current) scene.current?.flyTo(microdao);
    return () => scene.current?.leaveFlight(microdao);
  }, [microdao, layer]);
  const first = useRef(camera === null ? entity : null);
  useEffect(() => {
    if (layers && first.current) scene.current?.flyTo(first.current);
    if (layers) first.current = null;
  }, [layers]);
  useEffect(() => {
    // A new scene shows the whole layer by itself, or flies already.
    if (!isNew.current || camera !== null) scene.current?.setCamera(camera);
    isNew.current = false;
    isPlaced.current = false;
  }, [camera]);

  const isEmpty = useMemo(() => layers !== null && diagramOf(layers, layer).marks.length === 0, [layers, layer]);
  const over = hovered && itemById(layers, hovered.id);

  return (
    <div className="picture">
      <div
        ref={host}
        className={over ? 'canvas over' : 'canvas'}
        role="application"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys move between entities
        tabIndex={0}
        aria-label={t('map', { layer: t(layer) })}
        aria-describedby="map-keys"
        onPointerMove={(event) => {
          const { left, top } = event.currentTarget.getBoundingClientRect();
          if (event.buttons === 0) scene.current?.hover(event.clientX - left, event.clientY - top);
        }}
        onPointerLeave={() => scene.current?.leave()}
        onPointerDownCapture={(event) => {
          pressed.current = { x: event.clientX, y: event.clientY };
        }}
        // Not `pointerup`: the click that follows a tap would hit the sheet that it opens.
        onClickCapture={(event) => {
          const { x = Number.NaN, y = 0 } = pressed.current ?? {};
          if (!(Math.hypot(event.clientX - x, event.clientY - y) < CLICK_REACH)) return;
          const { left, top } = event.currentTarget.getBoundingClientRect();
          const id = scene.current?.at(event.clientX - left, event.clientY - top) ?? null;
          setView({ entity: id });
        }}
        onKeyDown={(event) => {
          if (event.key === 'Enter') document.getElementById('entity-title')?.focus();
          const direction = ARROWS[event.key];
          if (!direction || event.ctrlKey || event.metaKey || event.altKey) return;
          event.preventDefault();
          moves.send(direction);
        }}
      />
      <p id="map-keys" className="unseen">
        {t(`${layer}.about`)} {t('map.keys')}
      </p>
      {hasFailed && <p className="over-map notice">{t('map.nogl')}</p>}
      {!hasFailed && layers === null && !error && <OverMap icon="loading">{t('map.loading')}</OverMap>}
      {isEmpty && <OverMap icon={layer}>{t(`map.empty.${layer}`)}</OverMap>}
      {over && hovered && (
        <p className="tip" style={{ left: hovered.x, top: hovered.y }} aria-hidden="true">
          <strong>{over.label}</strong> <Mark condition={network.conditionOf(over.id)} />
          <span className="muted">{over.kind}</span>
        </p>
      )}
      <Controls />
    </div>
  );
}
