/** Patterns of subjects in the table of sentences: `>` stands for the rest. */

/** The most specific of `patterns` that matches, or `undefined`. */
export function bestPattern(patterns: ReadonlySet<string>, subject: string): string | undefined {
  if (patterns.has(subject)) return subject;
  const tokens = subject.split('.');
  for (let length = tokens.length - 1; length > 0; length--) {
    const pattern = `${tokens.slice(0, length).join('.')}.>`;
    if (patterns.has(pattern)) return pattern;
  }
  return undefined;
}
