// Prometheus' text, as far as the overview needs it.

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function parse(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const found = LINE.exec(line);
    if (found === null) return [];
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(LABEL)].map((label) => [label[1] ?? "", label[2] ?? ""]));
    return [{ name: found[1] ?? "", labels, value: Number(found[3]) }];
  });
}

/** The sum of the samples of `name` that have these labels. */
export function sum(samples: Sample[], name: string, labels: Record<string, string> = {}): number {
  const fits = (sample: Sample) => sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value);
  return samples.filter(fits).reduce((total, { value }) => total + value, 0);
}

/** How much a counter grew in a second between two readings; one that began anew has grown by what it shows. */
export function rate(before: number, now: number, seconds: number): number {
  return seconds <= 0 ? 0 : Math.max(now >= before ? now - before : now, 0) / seconds;
}

/** One reading of a counter that each of several processes has for itself. */
export interface Reading {
  instance: string;
  /** Milliseconds. */
  at: number;
  value: number;
}

/** How much the counters of all processes grow in a second together, by the last two readings of each. */
export function rateOfAll(readings: Reading[]): number {
  const last = new Map<string, Reading[]>();
  for (const reading of readings) last.set(reading.instance, [...(last.get(reading.instance) ?? []), reading].slice(-2));
  return [...last.values()].reduce((total, [before, now]) => total + (before === undefined || now === undefined ? 0 : rate(before.value, now.value, (now.at - before.at) / 1_000)), 0);
}
