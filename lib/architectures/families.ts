/**
 * The families that are built in; a new page is added to this list.
 *
 * @module
 */

import { BAICHUAN } from "./baichuan.ts";
import { CHATGLM } from "./chatglm.ts";
import { COHERE } from "./cohere.ts";
import { ERNIE4_5 } from "./ernie4_5.ts";
import { EXAONE4 } from "./exaone4.ts";
import { GEMMA } from "./gemma.ts";
import { GEMMA2 } from "./gemma2.ts";
import { GEMMA3 } from "./gemma3.ts";
import { GLM, GLM4 } from "./glm.ts";
import { GRANITE } from "./granite.ts";
import { HUNYUAN } from "./hunyuan.ts";
import { INTERNLM } from "./internlm.ts";
import { INTERNLM2 } from "./internlm2.ts";
import { LLAMA } from "./llama.ts";
import { MINICPM } from "./minicpm.ts";
import { MINISTRAL, MISTRAL } from "./mistral.ts";
import { OLMO2 } from "./olmo2.ts";
import { PHI } from "./phi.ts";
import { PHI3 } from "./phi3.ts";
import { QWEN } from "./qwen.ts";
import { QWEN2 } from "./qwen2.ts";
import { QWEN3 } from "./qwen3.ts";
import { QWEN3_MOE } from "./qwen3_moe.ts";
import type { ModelFamily } from "./registry.ts";
import { SEED_OSS } from "./seed_oss.ts";
import { SMOLLM3 } from "./smollm3.ts";
import { STABLELM } from "./stablelm.ts";
import { STARCODER2 } from "./starcoder2.ts";

/** All built-in families. */
export const FAMILIES: readonly ModelFamily[] = [
  LLAMA,
  MISTRAL,
  MINISTRAL,
  QWEN2,
  QWEN3,
  QWEN3_MOE,
  GEMMA,
  GEMMA2,
  GEMMA3,
  PHI,
  PHI3,
  GLM,
  GLM4,
  SMOLLM3,
  GRANITE,
  OLMO2,
  COHERE,
  STARCODER2,
  STABLELM,
  EXAONE4,
  HUNYUAN,
  ERNIE4_5,
  SEED_OSS,
  BAICHUAN,
  INTERNLM,
  INTERNLM2,
  CHATGLM,
  QWEN,
  MINICPM,
];
