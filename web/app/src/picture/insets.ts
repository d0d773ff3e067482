/** Space of the canvas that panels cover. */

import { type RefObject, useEffect, useState } from 'react';
import { type Insets, NO_INSETS } from './camera';

/** Elements over the canvas, and the side that each covers. */
const COVERS: readonly [selector: string, side: keyof Insets][] = [
  ['.dock', 'right'],
  ['.sheet-cover', 'bottom'],
  ['.stage-tools', 'top'],
  ['.legend', 'bottom'],
];

/** Measures the panels over `host`, again whenever one of them appears, disappears or changes its size. */
export function useInsets(host: RefObject<HTMLElement | null>): Insets {
  const [insets, setInsets] = useState(NO_INSETS);
  useEffect(() => {
    const main = host.current?.closest('main');
    if (!main) return;
    const measure = () => host.current && setInsets(insetsIn(main, host.current));
    const sizes = new ResizeObserver(measure);
    const watch = () => {
      sizes.disconnect();
      sizes.observe(main);
      if (host.current) sizes.observe(host.current);
      for (const [selector] of COVERS) for (const cover of main.querySelectorAll(selector)) sizes.observe(cover);
    };
    const children = new MutationObserver(watch);
    children.observe(main, { childList: true });
    watch();
    return () => {
      sizes.disconnect();
      children.disconnect();
    };
  }, [host]);
  return insets;
}

function insetsIn(main: Element, host: Element): Insets {
  const space = host.getBoundingClientRect();
  const insets = { ...NO_INSETS };
  for (const [selector, side] of COVERS) {
    const cover = main.querySelector(selector)?.getBoundingClientRect();
    if (!cover) continue;
    const covered = {
      left: cover.right - space.left,
      top: cover.bottom - space.top,
      right: space.right - cover.left,
      bottom: space.bottom - cover.top,
    };
    // Panels beside the scene cover nothing of it.
    insets[side] = Math.max(insets[side], Math.round(covered[side]), 0);
  }
  return insets;
}
