/** Icons of events. */

import type { LucideIcon } from 'lucide-react';
import {
  BadgeCheck,
  Bell,
  Bot,
  Brain,
  Building2,
  ChartNoAxesColumn,
  CircleX,
  Coins,
  Cpu,
  FileText,
  Flag,
  Funnel,
  GitBranch,
  Hash,
  HeartPulse,
  Lightbulb,
  MessageSquare,
  Orbit,
  Pencil,
  RefreshCw,
  Server,
  Trash2,
  User,
  Vote,
  Wrench,
} from 'lucide-react';
import type { EventIcon } from '../words/sentence';

const icons: Record<EventIcon, LucideIcon> = {
  agent: Bot,
  alert: Bell,
  audit: BadgeCheck,
  change: Pencil,
  channel: Hash,
  city: Building2,
  error: CircleX,
  figures: ChartNoAxesColumn,
  file: FileText,
  filter: Funnel,
  gone: Trash2,
  health: HeartPulse,
  lesson: Lightbulb,
  memory: Brain,
  message: MessageSquare,
  model: Cpu,
  money: Coins,
  node: Server,
  person: User,
  quest: Flag,
  run: GitBranch,
  space: Orbit,
  sync: RefreshCw,
  tool: Wrench,
  vote: Vote,
};

/** Decorative: the sentence beside it has the same meaning. */
export function EventGlyph({ icon }: { icon: EventIcon }) {
  const Shape = icons[icon];
  return <Shape className="icon event-icon" aria-hidden="true" />;
}
