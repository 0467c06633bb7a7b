/**
 * Shows a run: on a terminal a bar with loss, learning rate, tokens per second and
 * time left, otherwise log rows.
 *
 * @module
 */

import cliProgress from "npm:cli-progress@3.12.0";
import type { LogRow, TrainerCallback } from "../mod.ts";
import { warn } from "./report_error.ts";

/** Tokens per second over the last few seconds. */
class Pace {
  #tokens = 0;
  #seconds = 0;

  add(tokens: number, seconds: number): void {
    const memory = 0.95;
    this.#tokens = this.#tokens * memory + tokens;
    this.#seconds = this.#seconds * memory + seconds;
  }

  get tokensPerSecond(): number {
    return this.#seconds === 0 ? 0 : this.#tokens / this.#seconds;
  }
}

/** Options of {@linkcode progressCallback}. */
export interface ProgressOptions {
  /** Show a bar; else print log rows. */
  readonly bar: boolean;
}

/** A callback that shows a run on standard error and output. */
export function progressCallback(options: ProgressOptions): TrainerCallback {
  return options.bar ? barCallback() : rowsCallback();
}

function barCallback(): TrainerCallback {
  const bar = new cliProgress.SingleBar({
    format: "{bar} {value}/{total} | {duration_formatted} < {left} | " +
      "loss {loss} | lr {rate} | {speed} tokens/s",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: barSize(),
    hideCursor: true,
    forceRedraw: true,
    fps: 8,
  });
  const pace = new Pace();
  let total = 0;
  let mean: number | null = null;
  let secondsPerStep = 0;
  let show = aboveBar;
  return {
    onTrainBegin(plan, step): void {
      total = plan.maxSteps;
      bar.start(total, step, { loss: "-", rate: "-", speed: "-", left: "?" });
    },
    onStepEnd(report): void {
      pace.add(report.tokens, report.seconds);
      mean = mean === null ? report.loss : 0.9 * mean + 0.1 * report.loss;
      secondsPerStep = secondsPerStep === 0
        ? report.seconds
        : 0.9 * secondsPerStep + 0.1 * report.seconds;
      bar.update(report.step, {
        loss: mean.toFixed(4),
        rate: shortNumber(report.learningRate),
        speed: Math.round(pace.tokensPerSecond),
        left: clock(secondsPerStep * (total - report.step)),
      });
    },
    onTrainEnd(): void {
      // stopping moves the cursor to the place saved last, which was the bar's first
      sendCodes("\x1b7");
      bar.stop();
      show = (print) => print();
    },
    onLog: (row) => show(() => console.log(rowText(row))),
    onWarning: (message) => show(() => warn(message)),
  };
}

/** The bar's length: what the numbers, about 70 columns, leave of the terminal's width. */
function barSize(): number {
  try {
    return Math.min(24, Math.max(4, Deno.consoleSize().columns - 70));
  } catch {
    // neither of the streams that Deno checks is a terminal
    return 24;
  }
}

/** Prints log rows, one per line. */
function rowsCallback(): TrainerCallback {
  return { onLog: (row) => console.log(rowText(row)), onWarning: warn };
}

/** A log row as transformers prints it. */
function rowText({ step: _step, ...values }: LogRow): string {
  const shown = Object.entries(values).map(([name, value]) =>
    `'${name}': '${shortNumber(value)}'`
  );
  return `{${shown.join(", ")}}`;
}

/** Writes control codes to the terminal, if there is one. */
function sendCodes(codes: string): void {
  if (!Deno.stderr.isTerminal()) return;
  Deno.stderr.writeSync(new TextEncoder().encode(codes));
}

/** Prints above the bar, which is then drawn again; the bar turns line wrapping off. */
function aboveBar(print: () => void): void {
  sendCodes("\r\x1b[2K\x1b[?7h");
  print();
  sendCodes("\x1b[?7l");
}

/** Restores the terminal's cursor and line wrapping when the bar cannot do so itself. */
export function restoreTerminal(): void {
  sendCodes("\x1b[?25h\x1b[?7h\n");
}

/** Shows `line` on standard error; on a terminal it replaces the previous line. */
export function showLine(line: string): void {
  const text = Deno.stderr.isTerminal() ? `\r\x1b[2K${line}` : `${line}\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}

/** `value` with four significant digits, as Python's `.4g`. */
function shortNumber(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size >= -5 && size < 4) return String(Number(value.toPrecision(4)));
  return Number(value.toPrecision(4)).toExponential()
    .replace(/e([+-])(\d)$/, "e$10$2");
}

function clock(seconds: number): string {
  const whole = Math.round(seconds);
  const parts = [
    Math.floor(whole / 3600),
    Math.floor(whole / 60) % 60,
    whole % 60,
  ];
  return (parts[0]! > 0 ? parts : parts.slice(1))
    .map((part) => String(part).padStart(2, "0")).join(":");
}
