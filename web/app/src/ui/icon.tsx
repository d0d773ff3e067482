/** Icons of the page, by meaning. */

import type { LucideIcon } from 'lucide-react';
import {
  Bell,
  BellOff,
  Bot,
  Building2,
  ChevronRight,
  CircleAlert,
  Clock3,
  Crosshair,
  GitCompareArrows,
  HeartPulse,
  Inbox,
  Lightbulb,
  Loader,
  Map as MapIcon,
  Maximize,
  Menu,
  MessageSquare,
  Minus,
  MoveRight,
  Orbit,
  PanelRight,
  PanelRightClose,
  Pause,
  Play,
  Plus,
  Radio,
  Search,
  Server,
  Settings,
  SlidersHorizontal,
  Table2,
  TriangleAlert,
  Unplug,
  UserRound,
  X,
} from 'lucide-react';

const icons = {
  agents: Bot,
  alert: CircleAlert,
  alerts: Bell,
  changes: GitCompareArrows,
  city: Building2,
  close: X,
  dock: PanelRight,
  empty: Inbox,
  events: Radio,
  filter: SlidersHorizontal,
  fit: Maximize,
  float: PanelRightClose,
  go: MoveRight,
  health: HeartPulse,
  in: Plus,
  lessons: Lightbulb,
  letters: MessageSquare,
  loading: Loader,
  lost: Unplug,
  map: MapIcon,
  menu: Menu,
  more: ChevronRight,
  nodes: Server,
  out: Minus,
  past: Clock3,
  pause: Pause,
  person: UserRound,
  play: Play,
  search: Search,
  settings: Settings,
  show: Crosshair,
  silenced: BellOff,
  space: Orbit,
  table: Table2,
  trouble: TriangleAlert,
} satisfies Record<string, LucideIcon>;

export type IconName = keyof typeof icons;

export const ICON_NAMES = Object.keys(icons) as IconName[];

/** Decorative: its meaning is also in the text or label beside it. */
export function Icon({ name }: { name: IconName }) {
  const Shape = icons[name];
  return <Shape className="icon" aria-hidden="true" />;
}
