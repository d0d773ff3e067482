/** Times as `datetime-local` inputs have them: the clock on the wall, without a zone. */

export function toLocal(time: string): string {
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** `null` for what is no time. */
export function fromLocal(text: string): string | null {
  const time = new Date(text).getTime();
  return text === '' || Number.isNaN(time) ? null : new Date(time).toISOString();
}
