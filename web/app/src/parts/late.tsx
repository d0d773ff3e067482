/** Parts of the page that are loaded when they are first shown. */

import { Component, type ComponentType, lazy, type ReactNode, useState } from 'react';
import { useText } from '../preferences';
import { StateBox } from '../ui/state-box';

/**
 * A part that is loaded when it is first shown, inside a `Suspense` of its user. If that fails, for example while the server
 * is down, or after its update, the part says so and can be loaded again; the rest of the page stays.
 */
export function late<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): ComponentType<P> {
  // Keeps its outcome, a failure too.
  let Part = lazy(load);
  return function Late(props: P) {
    const [attempt, setAttempt] = useState(0);
    const retry = () => {
      Part = lazy(load);
      setAttempt(attempt + 1);
    };
    return (
      <Boundary key={attempt} otherwise={<NotLoaded onRetry={retry} />}>
        <Part {...props} />
      </Boundary>
    );
  };
}

function NotLoaded({ onRetry }: { onRetry: () => void }) {
  const { t } = useText();
  return (
    <StateBox
      icon="trouble"
      action={
        <button type="button" onClick={onRetry}>
          {t('retry')}
        </button>
      }
    >
      {t('part.failed')}
    </StateBox>
  );
}

interface BoundaryProps {
  otherwise: ReactNode;
  children: ReactNode;
}

/** Shows something else in place of children that fail. React reports the error on the console. */
class Boundary extends Component<BoundaryProps, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override render() {
    return this.state.hasFailed ? this.props.otherwise : this.props.children;
  }
}
