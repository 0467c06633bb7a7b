/**
 * Reads the fields of a `config.json` for a model page. Every value is checked,
 * and all problems are reported at once. `null` means the default, as in
 * transformers; only the object's own properties count.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";

/** A JSON object. */
export type ConfigJson = Readonly<Record<string, unknown>>;

/** Bounds of a number. */
export interface NumberBounds {
  /** The smallest valid value. */
  readonly least?: number;
  /** The largest valid value. Default the largest number of float32. */
  readonly most?: number;
  /** A bound that the value must exceed. */
  readonly moreThan?: number;
}

const LARGEST_FLOAT32 = 3.4e38;
/** No width or vocabulary of a model is larger than this. */
const LARGEST_COUNT = 2 ** 24;
/** The deepest models have about two hundred layers. */
const MOST_LAYERS = 2000;
const LARGEST_POSITION = 2 ** 31 - 1;

/**
 * The classes that a config names: `architectures`, and those of `auto_map` without
 * their modules.
 */
export function classNames(
  { architectures, auto_map: mapped }: ConfigJson,
): unknown[] {
  const listed: unknown[] = Array.isArray(architectures) ? architectures : [];
  if (typeof mapped !== "object" || mapped === null) return listed;
  const classes = Object.values(mapped).filter((each) =>
    typeof each === "string"
  );
  return [...listed, ...classes.map((each) => each.split(".").at(-1))];
}

/** The fields of one JSON object, and their problems. */
export class ConfigReader {
  /** The problems so far. */
  readonly problems: string[];

  /** Reads `json`, from the folder `path`. */
  constructor(
    readonly path: string,
    readonly json: ConfigJson,
    problems: string[] = [],
  ) {
    this.problems = problems;
  }

  /** The value of `field`, `undefined` where it is missing or `null`. */
  value(field: string): unknown {
    return Object.hasOwn(this.json, field)
      ? this.json[field] ?? undefined
      : undefined;
  }

  /** Adds the problem that `field` must be `what`. */
  #wrong(field: string, what: string): void {
    const value = quoted(this.json[field], 60);
    this.problems.push(`${field} must be ${what}, got ${value}`);
  }

  /** A finite number. */
  number(field: string, fallback: number, bounds: NumberBounds = {}): number {
    const value = this.value(field);
    if (value === undefined) return fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) {
      this.#wrong(field, "a number");
      return fallback;
    }
    const { least = -LARGEST_FLOAT32, most = LARGEST_FLOAT32 } = bounds;
    const { moreThan = -Infinity } = bounds;
    if (value <= moreThan) this.#wrong(field, `more than ${moreThan}`);
    else if (value < least) this.#wrong(field, `at least ${least}`);
    else if (value > most) this.#wrong(field, `at most ${most}`);
    else return value;
    return fallback;
  }

  /** A whole number from 1 to `most`, such as a width. */
  count(field: string, fallback: number, most = LARGEST_COUNT): number {
    const value = this.number(field, fallback, { most });
    if (Number.isInteger(value) && value > 0) return value;
    this.#wrong(field, "a positive integer");
    return fallback;
  }

  /**
   * A whole number from 1; `null` when the field is `null`, and `fallback` only
   * when it is missing.
   */
  countOrNull(field: string, fallback: number | null): number | null {
    return this.#isNull(field)
      ? null
      : this.value(field) === undefined
      ? fallback
      : this.count(field, 1, LARGEST_POSITION);
  }

  /**
   * A number above 0; `null` when the field is `null`, and `fallback` only when
   * it is missing.
   */
  positiveOrNull(field: string, fallback: number | null): number | null {
    return this.#isNull(field)
      ? null
      : this.value(field) === undefined
      ? fallback
      : this.number(field, 1, { moreThan: 0 });
  }

  #isNull(field: string): boolean {
    return Object.hasOwn(this.json, field) && this.json[field] === null;
  }

  /** A probability, such as that of dropout: from 0 to less than 1. */
  share(field: string, fallback: number): number {
    return this.number(field, fallback, { least: 0, most: 0.999 });
  }

  /** The number of layers. */
  layers(field: string, fallback: number): number {
    return this.count(field, fallback, MOST_LAYERS);
  }

  /** A number of positions. */
  positions(field: string, fallback: number): number {
    return this.count(field, fallback, LARGEST_POSITION);
  }

  /** `true` or `false`. */
  flag(field: string, fallback: boolean): boolean {
    const value = this.value(field) ?? fallback;
    if (typeof value === "boolean") return value;
    this.#wrong(field, "true or false");
    return fallback;
  }

  /** One of `choices`. */
  choice<T extends string>(
    field: string,
    fallback: T,
    choices: readonly T[],
  ): T {
    const value = this.value(field) ?? fallback;
    const found = choices.find((each) => each === value);
    if (found !== undefined) return found;
    this.problems.push(
      `${field} ${quoted(value, 60)} is not supported (${
        choices.join(", ")
      } are)`,
    );
    return fallback;
  }

  /** A list of `length` finite numbers. */
  numbers(field: string, length: number): number[] {
    const value = this.value(field);
    const fits = Array.isArray(value) && value.length === length &&
      value.every((each) =>
        typeof each === "number" && Math.abs(each) <= LARGEST_FLOAT32
      );
    if (fits) return value;
    this.#wrong(field, `a list of ${length} numbers`);
    return [];
  }

  /** Token ids: one, several, or none when the field is `null`. */
  ids(field: string, fallback: number | readonly number[] | null): number[] {
    const value = Object.hasOwn(this.json, field) ? this.json[field] : fallback;
    if (value === null) return [];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    const isId = (id: unknown): id is number =>
      Number.isSafeInteger(id) && (id as number) >= 0;
    if (ids.every(isId)) return ids;
    this.#wrong(field, "a token id or a list of them");
    return [];
  }

  /** The object in `field`, empty when there is none; its problems are added to these. */
  section(field: string): ConfigReader {
    const value = this.value(field) ?? {};
    const isObject = typeof value === "object" && !Array.isArray(value);
    if (!isObject) this.#wrong(field, "an object");
    const json = isObject ? value as ConfigJson : {};
    return new ConfigReader(this.path, json, this.problems);
  }

  /** Refuses a value of `field` that the page does not support. */
  refuse(field: string, isFine: (value: unknown) => boolean): void {
    const value = this.value(field);
    if (value !== undefined && !isFine(value)) {
      this.problems.push(`${field} ${quoted(value, 60)} is not supported`);
    }
  }

  /** Refuses weights that are packed by a method of quantisation. */
  refuseQuantized(): void {
    if (this.value("quantization_config") === undefined) return;
    const value = quoted(this.value("quantization_config"), 60);
    this.problems.push(
      `quantization_config ${value} is not supported, ` +
        "the model's weights before quantisation are needed",
    );
  }

  /**
   * Finishes reading.
   *
   * @throws {InputError} with all problems.
   */
  finish(): void {
    if (this.problems.length === 0) return;
    throw new InputError(
      `Cannot compute model ${quoted(this.path)}: in config.json ${
        [...new Set(this.problems)].join("; ")
      }`,
    );
  }
}
