// Lines of two texts: what went, what came, what stayed.

export interface Line {
  is: "same" | "gone" | "new";
  text: string;
}

/** The longest common lines stay. Bodies have some hundred lines; a table of that size is small. */
export function diff(before: string, after: string): Line[] {
  const [old, fresh] = [before.split("\n"), after.split("\n")];
  const common = Array.from({ length: old.length + 1 }, () => new Array<number>(fresh.length + 1).fill(0));
  const at = (row: number, column: number) => common[row]?.[column] ?? 0;
  for (let row = old.length - 1; row >= 0; row -= 1) {
    for (let column = fresh.length - 1; column >= 0; column -= 1) {
      common[row]![column] = old[row] === fresh[column] ? at(row + 1, column + 1) + 1 : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  const lines: Line[] = [];
  let [row, column] = [0, 0];
  while (row < old.length || column < fresh.length) {
    if (row < old.length && column < fresh.length && old[row] === fresh[column]) {
      lines.push({ is: "same", text: old[row] ?? "" });
      row += 1;
      column += 1;
    } else if (row < old.length && (column >= fresh.length || at(row + 1, column) >= at(row, column + 1))) {
      lines.push({ is: "gone", text: old[row] ?? "" });
      row += 1;
    } else {
      lines.push({ is: "new", text: fresh[column] ?? "" });
      column += 1;
    }
  }
  return lines;
}
