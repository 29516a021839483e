/** Row and column in a block of 2x2 places, in the order of coding. */
export const PHASES: readonly (readonly [number, number])[] = [
  [0, 0],
  [1, 1],
  [0, 1],
  [1, 0],
];

/** The known neighbours that one phase holds: a rectangle of blocks, counted from the position's own. */
export interface Rectangle {
  phase: number;
  top: number;
  left: number;
  height: number;
  width: number;
}

/** The known ones of a position's size x size neighbours; phase: the position's. */
export function knownRectangles(phase: number, size: number): Rectangle[] {
  const reach = size >> 1;
  const along = (own: number, other: number): [number, number] => {
    const found: number[] = [];
    for (let d = -reach; d <= reach; d++) if ((own + d - other) % 2 === 0) found.push((own + d - other) / 2);
    return [found[0]!, found.length];
  };
  return PHASES.slice(0, phase).map((earlier, k) => {
    const [top, height] = along(PHASES[phase]![0], earlier[0]);
    const [left, width] = along(PHASES[phase]![1], earlier[1]);
    return { phase: k, top, left, height, width };
  });
}
