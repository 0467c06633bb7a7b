/**
 * Texts in a cache that grow past the original length of their rotations.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { generate } from "../../lib/generation/mod.ts";
import { KeyValueCache } from "../../lib/nn/mod.ts";
import {
  aten,
  fromData,
  noGrad,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import { FOLDER } from "./family_folder.ts";

// Their original length is 8.
for (const name of ["phi3_su", "phi4_mini"]) {
  for (const step of [1, 2]) {
    Deno.test(`${name} gives with a cache, ${step} at a time, the logits of each text so far`, () => {
      const folder = `${FOLDER}/${name}`;
      using model = AutoModelForCausalLM.fromPretrained(folder);
      using _scope = tensorScope();
      using _frozen = noGrad();
      const golden = readSafetensors(`${folder}/golden.safetensors`);
      const ids = fromData(golden.get("ids")!);
      const caches = model.decoderLayers.map(() => new KeyValueCache());
      for (let at = 0; at < 13;) {
        const end = at === 0 ? 5 : at + step;
        const part = aten.slice(ids, 1, at, end);
        const logits = aten.view(model.forward(part, { caches }), [
          2,
          end - at,
          -1,
        ]);
        const whole = aten.view(model.forward(aten.slice(ids, 1, 0, end)), [
          2,
          end,
          -1,
        ]);
        const wanted = aten.slice(whole, 1, at, end);
        assertClose(logits.toArray(), wanted.toArray(), {
          limit: 1e-5,
          what: `ids ${at} to ${end}`,
        });
        assert(caches.every(({ length }) => length === end));
        at = end;
      }
      for (const cache of caches) cache[Symbol.dispose]();
    });
  }

  Deno.test(`${name} answers what it would without a cache`, () => {
    using model = AutoModelForCausalLM.fromPretrained(`${FOLDER}/${name}`);
    const prompt = [5, 9, 17, 33];
    const answer = [...generate(model, prompt, {
      maxNewTokens: 12,
      eosTokenIds: [],
    })];
    using _scope = tensorScope();
    using _frozen = noGrad();
    const text = [...prompt];
    for (const id of answer) {
      const ids = tensor([text], { dtype: "int64" });
      const logits = model.forward(ids).toArray().slice(-64);
      assert.equal(id, logits.indexOf(Math.max(...logits)));
      text.push(id);
    }
  });
}
