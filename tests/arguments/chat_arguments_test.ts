/**
 * The chat command's arguments.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import {
  type ChatArguments,
  parseChatArguments,
} from "../../lib/arguments/chat_arguments.ts";

function parse(...args: string[]): ChatArguments {
  const parsed = parseChatArguments(args);
  assert.ok(!("help" in parsed), "unexpected help");
  return parsed.chat;
}

Deno.test("parseChatArguments gives the defaults", () => {
  assert.deepEqual(parse(), {
    model_path: "models/tiny-atom",
    torch_dtype: "auto",
    device: "auto",
    adapter: null,
    prompt: null,
    instruction: null,
    history: null,
    max_new_tokens: 512,
    do_sample: true,
    temperature: 0.3,
    top_k: 50,
    top_p: 0.95,
    repetition_penalty: 1.3,
    seed: 42,
  });
});

Deno.test("parseChatArguments gives every setting its own value", () => {
  assert.deepEqual(
    parse(
      ..."--model_path m --torch_dtype float32 --device cpu --adapter a"
        .split(" "),
      ...["--prompt", "你 好", "--instruction", "a b", "--max_new_tokens", "3"],
      ..."--no_do_sample --temperature 1 --top_k 0 --top_p 1".split(" "),
      ..."--repetition_penalty 1 --seed 0 --history false".split(" "),
    ),
    {
      model_path: "m",
      torch_dtype: "float32",
      device: "cpu",
      adapter: "a",
      prompt: "你 好",
      instruction: "a b",
      history: false,
      max_new_tokens: 3,
      do_sample: false,
      temperature: 1,
      top_k: 0,
      top_p: 1,
      repetition_penalty: 1,
      seed: 0,
    },
  );
});

Deno.test("parseChatArguments tells everything that is wrong at once", () => {
  const args = "--temperature 0 --top_k=-1 --top_p 1.5 --max_new_tokens 0 " +
    "--repetition_penalty 0 --seed=-1 --device tpu --adaptor x";
  assert.throws(() => parseChatArguments(args.split(" ")), {
    name: "InputError",
    exitCode: 2,
    message: [
      "unrecognized arguments: --adaptor x (did you mean --adapter?)",
      "Cannot use --temperature 0: expected more than 0; --do_sample false " +
      "takes the most likely token",
      "Cannot use --top_k -1: expected 0 or more",
      "Cannot use --top_p 1.5: expected more than 0 and at most 1",
      "Cannot use --repetition_penalty 0: expected more than 0",
      "Cannot use --max_new_tokens 0: expected 1 or more",
      "Cannot use --seed -1: expected 0 to 4294967295",
      'Cannot use --device "tpu": expected auto, cpu, cuda or cuda:N',
    ].join("\n"),
  });
});

Deno.test("parseChatArguments returns help as text", () => {
  const parsed = parseChatArguments(["-h"]);
  if (!("help" in parsed)) assert.fail("expected help");
  assert.match(parsed.help, /^usage: deno task chat /);
  assert.match(parsed.help, /--no_do_sample/);
});
