"""The families whose code transformers lacks, as their published code computes them, for published.py.

Written from the formulas, a second time and apart from tests/fixtures/families/references.py: here a text can also be
computed in pieces, with what each family's code keeps between them, and the modules are registered in the order of the
published classes, which is the order in which peft draws a fresh adapter. Everything is computed in fp32 and eagerly.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import CausalLMOutput

# What each published class of the config has where config.json is silent.
DEFAULTS = {
    "baichuan": dict(hidden_act="silu", rms_norm_eps=1e-6, tie_word_embeddings=False),
    "internlm": dict(hidden_act="silu", rms_norm_eps=1e-6, max_position_embeddings=2048, bias=True, tie_word_embeddings=False,
                     rotary=dict(base=10000, type="dynamic")),
    "internlm2": dict(hidden_act="silu", rms_norm_eps=1e-6, max_position_embeddings=2048, bias=True, rope_theta=10000,
                      rope_scaling=None, num_key_value_heads=None, tie_word_embeddings=False),
    "chatglm": dict(layernorm_epsilon=1e-5, add_bias_linear=False, add_qkv_bias=False, multi_query_attention=False,
                    multi_query_group_num=1, rope_ratio=1, kv_channels=128),
    "qwen": dict(layer_norm_epsilon=1e-6, rotary_pct=1.0, rotary_emb_base=10000, use_dynamic_ntk=True, use_logn_attn=True,
                 no_bias=True, tie_word_embeddings=False),
    "minicpm": dict(hidden_act="silu", rms_norm_eps=1e-6, max_position_embeddings=2048, rope_theta=10000.0,
                    rope_scaling=None, attention_bias=False, scale_emb=1, dim_model_base=1, scale_depth=1,
                    num_key_value_heads=None, tie_word_embeddings=True),
}


class Fields(dict):
    __getattr__ = dict.__getitem__


class Kept:
    """What a layer keeps of a text: keys, values and, for Qwen, how much the base had grown at its beginning."""

    def __init__(self):
        self.keys = self.values = self.growth = None

    def append(self, keys, values):
        if self.keys is not None:
            keys, values = torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2)
        self.keys, self.values = keys, values
        return keys, values

    @property
    def length(self):
        return 0 if self.keys is None else self.keys.shape[2]


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


class NormedHead(nn.Module):
    """Divides every row of the weight by its length, in training and outside of it."""

    def __init__(self, hidden, vocabulary):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary, hidden))

    def forward(self, x):
        return F.linear(x, F.normalize(self.weight))


class Tree(nn.Module):
    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)


def split_heads(x, count):
    batch, length, width = x.shape
    return x.view(batch, length, count, width // count).transpose(1, 2)


def frequencies(size, base):
    return 1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float32) / size)


def halves(x, positions, inverse):
    """Pairs (i, i + half) of the first 2·len(inverse) places of each head."""
    size = 2 * len(inverse)
    angle = torch.cat([torch.outer(positions, inverse)] * 2, -1)
    turned, rest = x[..., :size], x[..., size:]
    swapped = torch.cat([-turned[..., size // 2:], turned[..., :size // 2]], -1)
    return torch.cat([turned * angle.cos() + swapped * angle.sin(), rest], -1)


def neighbours(x, positions, inverse):
    """Pairs (2i, 2i + 1) of the first 2·len(inverse) places of each head."""
    size = 2 * len(inverse)
    angle = torch.outer(positions, inverse)
    pairs = torch.view_as_complex(x[..., :size].float().reshape(*x.shape[:-1], size // 2, 2))
    turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)
    return torch.cat([turned.to(x.dtype), x[..., size:]], -1)


def attend(q, k, v, bias=None):
    """Softmax over the keys up to each query, whose own are the last ones."""
    groups, length, whole = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
    k, v = (each.repeat_interleave(groups, 1) for each in (k, v))
    scores = (q @ k.transpose(2, 3)) / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    unseen = torch.arange(whole)[None, :] > torch.arange(whole - length, whole)[:, None]
    weights = F.softmax(scores.masked_fill(unseen, float("-inf")).float(), dim=-1).to(v.dtype)
    return (weights @ v).transpose(1, 2).flatten(2)


def ntk(base, factor, length, trained, size):
    return base * (factor * length / trained - (factor - 1)) ** (size / (size - 2)) if length > trained else base


def slopes(count):
    """Geometric for powers of two; others have every other slope of the next power after those of the one before."""
    power = 2 ** int(math.log2(count))
    first = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    return first if power == count else first + [2 ** (-8 * (i + 1) / (2 * power)) for i in range(0, 2 * power, 2)][:count - power]


class Published(PreTrainedModel, GenerationMixin):
    supports_gradient_checkpointing = True

    def __init__(self, config):
        super().__init__(config)
        self.gradient_checkpointing = False
        self.fields = Fields({**DEFAULTS[config.model_type], **config.raw})
        self.build(self.fields)
        self.post_init()

    def _init_weights(self, module):
        pass

    def forward(self, input_ids, labels=None, kept=None, **kwargs):
        hidden = self.embed(input_ids)
        for at, layer in enumerate(self.layers()):
            place = None if kept is None else kept[at]
            if self.gradient_checkpointing and self.training:
                hidden = checkpoint(self.layer, layer, hidden, place, use_reentrant=False)
            else:
                hidden = self.layer(layer, hidden, place)
        logits = self.head(hidden)
        kwargs = {name: kwargs[name] for name in ("num_items_in_batch",) if name in kwargs}
        loss = None if labels is None else self.loss_function(logits, labels, vocab_size=logits.shape[-1], **kwargs)
        return CausalLMOutput(loss=loss, logits=logits)

    def steps(self, ids, prefill):
        """Logits of a prefill and single steps."""
        kept = [Kept() for _ in self.layers()]
        ends = [prefill, *range(prefill + 1, ids.shape[1] + 1)]
        parts = [self(ids[:, start:end], kept=kept).logits for start, end in zip([0, *ends], ends)]
        return torch.cat(parts, 1)


class LlamaLike(Published):
    """Two branches, each after a norm, under Llama's names."""
    MLP = ("gate_proj", "down_proj", "up_proj")

    def build(self, c):
        hidden, wide = c.hidden_size, c.intermediate_size
        shapes = dict(gate_proj=(hidden, wide), up_proj=(hidden, wide), down_proj=(wide, hidden))
        self.model = Tree(
            embed_tokens=nn.Embedding(c.vocab_size, hidden),
            layers=nn.ModuleList(Tree(
                self_attn=self.attention_tree(c),
                mlp=Tree(**{name: nn.Linear(*shapes[name], bias=False) for name in self.MLP}),
                input_layernorm=Norm(hidden, c.rms_norm_eps), post_attention_layernorm=Norm(hidden, c.rms_norm_eps))
                for _ in range(c.num_hidden_layers)),
            norm=Norm(hidden, c.rms_norm_eps))
        self.lm_head = self.head_tree(c)

    def head_tree(self, c):
        return nn.Linear(c.hidden_size, c.vocab_size, bias=False)

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def get_output_embeddings(self):
        return self.lm_head

    def layers(self):
        return self.model.layers

    def embed(self, ids):
        return self.model.embed_tokens(ids)

    def head(self, hidden):
        return self.lm_head(self.model.norm(hidden))

    def layer(self, layer, hidden, kept, share=1.0):
        hidden = hidden + share * self.attention(layer.self_attn, layer.input_layernorm(hidden), kept)
        x, mlp = layer.post_attention_layernorm(hidden), layer.mlp
        return hidden + share * mlp.down_proj(ACT2FN[self.fields.hidden_act](mlp.gate_proj(x)) * mlp.up_proj(x))


class Baichuan(LlamaLike):
    def rotates(self):
        return "max_position_embeddings" in self.fields

    def attention_tree(self, c):
        return Tree(W_pack=nn.Linear(c.hidden_size, 3 * c.hidden_size, bias=False),
                    o_proj=nn.Linear(c.hidden_size, c.hidden_size, bias=False))

    def head_tree(self, c):
        return NormedHead(c.hidden_size, c.vocab_size) if "z_loss_weight" in c else super().head_tree(c)

    def attention(self, tree, x, kept):
        count, start = self.fields.num_attention_heads, 0 if kept is None else kept.length
        q, k, v = (split_heads(each, count) for each in tree.W_pack(x).tensor_split(3, -1))
        bias, own = None, torch.arange(start, start + x.shape[1]).float()
        if self.rotates():
            inverse = frequencies(q.shape[-1], 10000.0)
            q, k = halves(q, own, inverse), halves(k, own, inverse)
        if kept is not None:
            k, v = kept.append(k, v)
        if not self.rotates():
            bias = torch.tensor(slopes(count))[:, None, None] * (torch.arange(k.shape[2]).float() - own[:, None])
        return tree.o_proj(attend(q, k, v, bias))


class InternLm(LlamaLike):
    def attention_tree(self, c):
        return Tree(**{name: nn.Linear(c.hidden_size, c.hidden_size, bias=c.bias)
                       for name in ("q_proj", "k_proj", "v_proj", "o_proj")})

    def attention(self, tree, x, kept):
        c, start = self.fields, 0 if kept is None else kept.length
        q, k, v = (split_heads(each(x), c.num_attention_heads) for each in (tree.q_proj, tree.k_proj, tree.v_proj))
        if kept is not None:
            # Kept as they are, and all of them turned by the length of the whole text.
            k, v = kept.append(k, v)
        whole, base = k.shape[2], float(c.rotary["base"])
        if c.rotary["type"] == "dynamic":
            base = ntk(base, c.rotary.get("scaling_factor", 1.0), whole, c.max_position_embeddings, q.shape[-1])
        positions, inverse = torch.arange(whole).float(), frequencies(q.shape[-1], base)
        return tree.o_proj(attend(halves(q, positions[start:], inverse), halves(k, positions, inverse), v))


class MiniCpm(LlamaLike):
    MLP = ("gate_proj", "up_proj", "down_proj")
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def attention_tree(self, c):
        size, bias = c.hidden_size // c.num_attention_heads, c.attention_bias
        keys = size * (c.num_key_value_heads or c.num_attention_heads)
        return Tree(q_proj=nn.Linear(c.hidden_size, c.hidden_size, bias=bias), k_proj=nn.Linear(c.hidden_size, keys, bias=bias),
                    v_proj=nn.Linear(c.hidden_size, keys, bias=bias), o_proj=nn.Linear(c.hidden_size, c.hidden_size, bias=bias))

    def embed(self, ids):
        return super().embed(ids) * self.fields.scale_emb

    def head(self, hidden):
        c = self.fields
        return self.lm_head(self.model.norm(hidden) / (c.hidden_size / c.dim_model_base))

    def layer(self, layer, hidden, kept):
        return super().layer(layer, hidden, kept, self.fields.scale_depth / math.sqrt(self.fields.num_hidden_layers))

    def attention(self, tree, x, kept):
        c, start = self.fields, 0 if kept is None else kept.length
        size, groups = c.hidden_size // c.num_attention_heads, c.num_key_value_heads or c.num_attention_heads
        q, k, v = split_heads(tree.q_proj(x), c.num_attention_heads), split_heads(tree.k_proj(x), groups), split_heads(tree.v_proj(x), groups)
        positions = torch.arange(start, start + x.shape[1]).float()
        if c.rope_scaling is not None:
            positions = positions / c.rope_scaling["factor"]
        inverse = frequencies(size, c.rope_theta)
        q, k = halves(q, positions, inverse), halves(k, positions, inverse)
        if kept is not None:
            k, v = kept.append(k, v)
        return tree.o_proj(attend(q, k, v))


class InternLm2(Published):
    def build(self, c):
        hidden, size = c.hidden_size, c.hidden_size // c.num_attention_heads
        groups = c.num_key_value_heads or c.num_attention_heads
        self.model = Tree(
            tok_embeddings=nn.Embedding(c.vocab_size, hidden),
            layers=nn.ModuleList(Tree(
                attention=Tree(wqkv=nn.Linear(hidden, (c.num_attention_heads + 2 * groups) * size, bias=c.bias),
                               wo=nn.Linear(hidden, hidden, bias=c.bias)),
                feed_forward=Tree(w1=nn.Linear(hidden, c.intermediate_size, bias=False),
                                  w3=nn.Linear(hidden, c.intermediate_size, bias=False),
                                  w2=nn.Linear(c.intermediate_size, hidden, bias=False)),
                attention_norm=Norm(hidden, c.rms_norm_eps), ffn_norm=Norm(hidden, c.rms_norm_eps))
                for _ in range(c.num_hidden_layers)),
            norm=Norm(hidden, c.rms_norm_eps))
        self.output = nn.Linear(hidden, c.vocab_size, bias=False)

    def get_input_embeddings(self):
        return self.model.tok_embeddings

    def get_output_embeddings(self):
        return self.output

    def layers(self):
        return self.model.layers

    def embed(self, ids):
        return self.model.tok_embeddings(ids)

    def head(self, hidden):
        return self.output(self.model.norm(hidden))

    def layer(self, layer, hidden, kept):
        hidden = hidden + self.attention(layer.attention, layer.attention_norm(hidden), kept)
        x, mlp = layer.ffn_norm(hidden), layer.feed_forward
        return hidden + mlp.w2(ACT2FN[self.fields.hidden_act](mlp.w1(x)) * mlp.w3(x))

    def attention(self, tree, x, kept):
        c, start = self.fields, 0 if kept is None else kept.length
        groups = c.num_key_value_heads or c.num_attention_heads
        size, each = c.hidden_size // c.num_attention_heads, c.num_attention_heads // groups
        batch, length, _ = x.shape
        rows = tree.wqkv(x).view(batch, length, groups, each + 2, size)
        q = rows[..., :each, :].reshape(batch, length, -1, size).transpose(1, 2)
        k, v = rows[..., -2, :].transpose(1, 2), rows[..., -1, :].transpose(1, 2)
        positions, base = torch.arange(start, start + length).float(), float(c.rope_theta)
        scaling = c.rope_scaling or {}
        if scaling.get("type") == "linear":
            positions = positions / scaling["factor"]
        if scaling.get("type") == "dynamic":
            base = ntk(base, scaling["factor"], start + length, c.max_position_embeddings, size)
        inverse = frequencies(size, base)
        q, k = halves(q, positions, inverse), halves(k, positions, inverse)
        if kept is not None:
            k, v = kept.append(k, v)
        return tree.wo(attend(q, k, v))


class ChatGlm(Published):
    def build(self, c):
        hidden, size, plain = c.hidden_size, c.kv_channels, c.add_bias_linear
        rows = (c.num_attention_heads + 2 * self.groups()) * size
        self.transformer = Tree(
            embedding=Tree(word_embeddings=nn.Embedding(c.padded_vocab_size, hidden)),
            encoder=Tree(
                layers=nn.ModuleList(Tree(
                    input_layernorm=Norm(hidden, c.layernorm_epsilon),
                    self_attention=Tree(query_key_value=nn.Linear(hidden, rows, bias=plain or c.add_qkv_bias),
                                        dense=nn.Linear(c.num_attention_heads * size, hidden, bias=plain)),
                    post_attention_layernorm=Norm(hidden, c.layernorm_epsilon),
                    mlp=Tree(dense_h_to_4h=nn.Linear(hidden, 2 * c.ffn_hidden_size, bias=plain),
                             dense_4h_to_h=nn.Linear(c.ffn_hidden_size, hidden, bias=plain)))
                    for _ in range(c.num_layers)),
                final_layernorm=Norm(hidden, c.layernorm_epsilon)),
            output_layer=nn.Linear(hidden, c.padded_vocab_size, bias=False))

    def groups(self):
        c = self.fields
        return c.multi_query_group_num if c.multi_query_attention else c.num_attention_heads

    def get_input_embeddings(self):
        return self.transformer.embedding.word_embeddings

    def get_output_embeddings(self):
        return self.transformer.output_layer

    def layers(self):
        return self.transformer.encoder.layers

    def embed(self, ids):
        return self.transformer.embedding.word_embeddings(ids)

    def head(self, hidden):
        return self.transformer.output_layer(self.transformer.encoder.final_layernorm(hidden))

    def layer(self, layer, hidden, kept):
        hidden = hidden + self.attention(layer.self_attention, layer.input_layernorm(hidden), kept)
        both = layer.mlp.dense_h_to_4h(layer.post_attention_layernorm(hidden))
        gate, up = both.tensor_split(2, -1)
        return hidden + layer.mlp.dense_4h_to_h(F.silu(gate) * up)

    def attention(self, tree, x, kept):
        c, start, groups = self.fields, 0 if kept is None else kept.length, self.groups()
        widths = [each * c.kv_channels for each in (c.num_attention_heads, groups, groups)]
        q, k, v = (split_heads(part, width // c.kv_channels)
                   for part, width in zip(tree.query_key_value(x).split(widths, -1), widths))
        positions, base = torch.arange(start, start + x.shape[1]).float(), 10000.0
        if c.get("divides_positions"):
            positions = positions / c.rope_ratio
        else:
            base *= c.rope_ratio
        inverse = frequencies(c.kv_channels // 2, base)
        q, k = neighbours(q, positions, inverse), neighbours(k, positions, inverse)
        if kept is not None:
            k, v = kept.append(k, v)
        return tree.dense(attend(q, k, v))


class Qwen(Published):
    def build(self, c):
        hidden, half, bias = c.hidden_size, c.intermediate_size // 2, not c.no_bias
        self.transformer = Tree(
            wte=nn.Embedding(c.vocab_size, hidden),
            h=nn.ModuleList(Tree(
                ln_1=Norm(hidden, c.layer_norm_epsilon),
                attn=Tree(c_attn=nn.Linear(hidden, 3 * hidden), c_proj=nn.Linear(hidden, hidden, bias=bias)),
                ln_2=Norm(hidden, c.layer_norm_epsilon),
                mlp=Tree(w1=nn.Linear(hidden, half, bias=bias), w2=nn.Linear(hidden, half, bias=bias),
                         c_proj=nn.Linear(half, hidden, bias=bias))) for _ in range(c.num_hidden_layers)),
            ln_f=Norm(hidden, c.layer_norm_epsilon))
        self.lm_head = nn.Linear(hidden, c.vocab_size, bias=False)

    def get_input_embeddings(self):
        return self.transformer.wte

    def get_output_embeddings(self):
        return self.lm_head

    def layers(self):
        return self.transformer.h

    def embed(self, ids):
        return self.transformer.wte(ids)

    def head(self, hidden):
        return self.lm_head(self.transformer.ln_f(hidden))

    def layer(self, layer, hidden, kept):
        hidden = hidden + self.attention(layer.attn, layer.ln_1(hidden), kept)
        x = layer.ln_2(hidden)
        return hidden + layer.mlp.c_proj(layer.mlp.w1(x) * F.silu(layer.mlp.w2(x)))

    def growth(self, whole, kept):
        c = self.fields
        if self.training or not c.use_dynamic_ntk:
            return 1.0
        if kept is not None and kept.growth is not None:
            return kept.growth
        grown = max(2 ** math.ceil(math.log(whole / c.seq_length, 2) + 1) - 1, 1)
        if kept is not None:
            kept.growth = grown
        return grown

    def attention(self, tree, x, kept):
        c, start = self.fields, 0 if kept is None else kept.length
        q, k, v = (split_heads(each, c.num_attention_heads) for each in tree.c_attn(x).split(c.hidden_size, -1))
        whole, size = start + x.shape[1], int(c.kv_channels * c.rotary_pct)
        inverse = frequencies(size, c.rotary_emb_base * self.growth(whole, kept) ** (size / (size - 2)))
        positions = torch.arange(start, whole).float()
        q, k = halves(q, positions, inverse), halves(k, positions, inverse)
        if kept is not None:
            k, v = kept.append(k, v)
        if c.use_logn_attn and not self.training:
            places = [math.log(n, c.seq_length) if n > c.seq_length else 1.0 for n in range(start + 1, whole + 1)]
            q = q * torch.tensor(places)[:, None]
        return tree.c_proj(attend(q, k, v))


def register(model_type, model):
    def init(self, **fields):
        self.raw = {name: value for name, value in fields.items() if name not in ("dtype", "name_or_path", "_name_or_path")}
        PreTrainedConfig.__init__(self, **{name: fields[name] for name in (
            "architectures", "auto_map", "eos_token_id", "bos_token_id", "pad_token_id", "dtype", "torch_dtype"
            ) if name in fields},
            tie_word_embeddings=fields.get("tie_word_embeddings", DEFAULTS[model_type].get("tie_word_embeddings", False)))
        self.hidden_size = fields.get("hidden_size")
        self.vocab_size = fields.get("vocab_size", fields.get("padded_vocab_size"))

    config = type(f"{model.__name__}Config", (PreTrainedConfig,), dict(model_type=model_type, __init__=init))
    model.config_class = config
    AutoConfig.register(model_type, config, exist_ok=True)
    AutoModelForCausalLM.register(config, model, exist_ok=True)


MODELS = dict(baichuan=Baichuan, internlm=InternLm, internlm2=InternLm2, chatglm=ChatGlm, qwen=Qwen, minicpm=MiniCpm)
for name, published in MODELS.items():
    register(name, published)
