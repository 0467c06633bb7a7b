/**
 * A picture of the bench's results as SVG: a bar for each measure of each run, as a
 * share of what the reference needs.
 *
 * @module
 */

import { ratiosOf, type Result } from "./results.ts";

const LEFT = 190;
const WIDTH = 760;
const BAR = 14;
const GROUP = 3 * BAR + 22;
const TOP = 78;
/** Pixels of what the reference needs; longer bars are cut at the edge. */
const WHOLE = 400;

/** Time of a step, time to the first step, and memory. */
const MEASURES = [
  { name: "time per token", colour: "#0b6e4f" },
  { name: "time to the first step", colour: "#3fa34d" },
  { name: "peak memory", colour: "#f4a259" },
] as const;

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (it) => `&#${it.charCodeAt(0)};`);
}

function label(
  x: number,
  y: number,
  { text, style = "" }: { text: string; style?: string },
): string {
  return `<text x="${x}" y="${y}"${style && ` ${style}`}>${
    escaped(text)
  }</text>`;
}

function bars(result: Result, top: number): string[] {
  const { profile, size, precision, batch } = result;
  const { speed, firstStep, memory } = ratiosOf(result);
  const name = `${profile}, ${size}, ${precision}`;
  const end = 'text-anchor="end"';
  const drawn = [1 / speed, firstStep, memory].flatMap((share, index) => {
    const y = top + index * BAR;
    const width = Math.min(share * WHOLE, WIDTH - LEFT - 120);
    const text = index === 0
      ? `${share.toFixed(2)} (${speed.toFixed(1)} times as fast)`
      : share.toFixed(2);
    return [
      `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${
        BAR - 2
      }" fill="${MEASURES[index]!.colour}"/>`,
      label(LEFT + width + 6, y + BAR - 4, { text }),
    ];
  });
  return [
    label(LEFT - 10, top + BAR, { text: name, style: end }),
    label(LEFT - 10, top + 2 * BAR, {
      text: `batch ${batch}`,
      style: `${end} class="faint"`,
    }),
    ...drawn,
  ];
}

/** The picture of `results`, in their order. */
export function pictureOf(results: readonly Result[]): string {
  const height = TOP + results.length * GROUP + 34;
  const machines = [...new Set(results.map((each) => each.machine))].join("; ");
  const dates = [...new Set(results.map((each) => each.date))].join(", ");
  const keys = MEASURES.flatMap(({ name, colour }, index) => [
    `<rect x="${
      LEFT + 165 * index
    }" y="36" width="12" height="12" fill="${colour}"/>`,
    label(LEFT + 165 * index + 18, 46, { text: name }),
  ]);
  const reference = LEFT + WHOLE;
  const bottom = TOP + results.length * GROUP - 6;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    "<style>text { fill: #24292f } .faint { fill: #6e7781 }</style>",
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    label(10, 22, {
      text:
        "lorikeet against transformers + peft: less is better, 1 is the same",
      style: 'font-size="15"',
    }),
    ...keys,
    `<line x1="${reference}" y1="${
      TOP - 14
    }" x2="${reference}" y2="${bottom}" stroke="#6e7781" stroke-dasharray="3 3"/>`,
    label(reference + 5, TOP - 6, {
      text: "transformers + peft",
      style: 'class="faint"',
    }),
    ...results.flatMap((each, index) => bars(each, TOP + index * GROUP)),
    label(10, height - 12, {
      text: `${machines}; ${dates}`,
      style: 'class="faint"',
    }),
    "</svg>",
    "",
  ].join("\n");
}
