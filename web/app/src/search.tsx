import { useId, useMemo, useRef, useState } from 'react';
import { type Item, search } from './entities';
import { useLayers } from './live';
import { openEntity } from './open-entity';
import { StatusMark } from './parts/mark';
import { useText } from './preferences';

const RESULTS = 8;

/** Search box; selecting a result opens the entity. */
export function Search() {
  const { t, maybe } = useText();
  const layers = useLayers();
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const [isOpen, setOpen] = useState(false);
  const found = useMemo(() => (isOpen ? search(layers, text, RESULTS) : []), [isOpen, layers, text]);
  const isShown = isOpen && text.trim() !== '';
  const chosen = Math.min(at, found.length - 1);

  const choose = (item: Item) => {
    openEntity(item.id, item.type);
    setText('');
    setOpen(false);
    input.current?.blur();
  };
  const type = (event: React.KeyboardEvent) => {
    const item = found[chosen];
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      const step = event.key === 'ArrowDown' ? 1 : -1;
      setAt((chosen + step + found.length) % Math.max(1, found.length));
    } else if (event.key === 'Enter' && item) {
      choose(item);
    } else if (event.key === 'Escape' && text !== '') {
      event.preventDefault();
      setText('');
    }
  };

  return (
    <search className="search">
      <input
        ref={input}
        id="search"
        type="search"
        role="combobox"
        aria-label={t('search')}
        aria-expanded={isShown}
        aria-controls={isShown ? `${id}-list` : undefined}
        aria-autocomplete="list"
        aria-activedescendant={isShown && found[chosen] ? `${id}-${chosen}` : undefined}
        placeholder={t('search.hint')}
        autoComplete="off"
        spellCheck={false}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setAt(0);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={type}
      />
      {isShown && found.length > 0 && (
        <div id={`${id}-list`} className="results" role="listbox" aria-label={t('search')}>
          {found.map((item, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the input handles the keyboard, as in any combobox
            <div
              key={item.id}
              id={`${id}-${index}`}
              role="option"
              tabIndex={-1}
              aria-selected={index === chosen}
              onMouseDown={(event) => event.preventDefault()}
              onClick={() => choose(item)}
            >
              <StatusMark status={item.status} isBare /> {item.label}
              <span className="muted">{maybe(`type.${item.type}`, item.type)}</span>
            </div>
          ))}
        </div>
      )}
      {isShown && found.length === 0 && (
        <p id={`${id}-list`} className="results muted" role="status">
          {t('search.none')}
        </p>
      )}
    </search>
  );
}
