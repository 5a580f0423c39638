"""The Llama-shaped policy, written for speed in eager PyTorch on a CPU, with a static key/value cache.

The weights of a layer are a plain tuple and the layer a plain function: at these widths the calls of nested modules
cost several per cent of a decoding step.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY = 32
CONTEXT = 64
EPSILON = 1e-5
ROTARY_BASE = 10000.0


class Size(NamedTuple):
    width: int
    layers: int
    heads: int
    hidden: int


SIZES = {"t": Size(64, 2, 2, 176), "s": Size(128, 4, 4, 352), "m": Size(256, 6, 4, 688)}


class Layer(NamedTuple):
    attention_norm: nn.Parameter  # [width]
    qkv: nn.Parameter  # [3 * width, width], queries, keys, values
    output: nn.Parameter  # [width, width]
    feed_norm: nn.Parameter  # [width]
    gate: nn.Parameter  # [hidden, width]
    up: nn.Parameter  # [hidden, width]
    down: nn.Parameter  # [width, hidden]


def rms_norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * weight


class Policy(nn.Module):
    def __init__(self, size):
        super().__init__()
        width, layers, heads, hidden = size
        self.size, self.heads, self.head = size, heads, width // heads

        def matrix(rows, columns):
            return nn.Parameter(torch.randn(rows, columns) * 0.02)

        def ones():
            return nn.Parameter(torch.ones(width))

        self.embedding = matrix(VOCABULARY, width)
        self.norm = ones()
        self.layers = [
            Layer(
                ones(), matrix(3 * width, width), matrix(width, width),
                ones(), matrix(hidden, width), matrix(hidden, width), matrix(width, hidden),
            )
            for _ in range(layers)
        ]
        self.registered = nn.ParameterList(weight for layer in self.layers for weight in layer)

        # Rotary tables [CONTEXT, 1, 1, head]. The halves of a head are swapped by a roll, so the sign that belongs to
        # the first half is in the table of sines.
        frequencies = ROTARY_BASE ** (-torch.arange(0, self.head, 2) / self.head)
        angles = torch.outer(torch.arange(CONTEXT).float(), frequencies)[:, None, None, :]
        self.register_buffer("cosine", torch.cat((angles.cos(), angles.cos()), -1))
        self.register_buffer("sine", torch.cat((-angles.sin(), angles.sin()), -1))

    def heads_of(self, x, layer, cosine, sine):
        """Rotated queries and keys, and values, each [rows, heads, positions, head]."""
        rows, positions, _ = x.shape
        projected = F.linear(rms_norm(x, layer.attention_norm), layer.qkv)
        projected = projected.view(rows, positions, 3, self.heads, self.head)
        pair = projected[:, :, :2]
        pair = torch.addcmul(pair * cosine, pair.roll(self.head // 2, -1), sine)
        queries, keys = pair.permute(2, 0, 3, 1, 4)
        return queries, keys, projected[:, :, 2].transpose(1, 2)

    def close(self, x, attended, layer):
        """Output projection, feed-forward and both residuals. attended: [rows, heads, positions, head]."""
        x = x + F.linear(attended.transpose(1, 2).reshape(x.shape), layer.output)
        y = rms_norm(x, layer.feed_norm)
        return x + F.linear(F.silu(F.linear(y, layer.gate)) * F.linear(y, layer.up), layer.down)

    def logits(self, x):
        return F.linear(rms_norm(x, self.norm), self.embedding)

    def forward(self, tokens, first=0):
        """Logits [rows, positions - first, VOCABULARY] of the whole sequences, from position `first` on."""
        x, end = F.embedding(tokens, self.embedding), tokens.shape[1]
        for layer in self.layers:
            queries, keys, values = self.heads_of(x, layer, self.cosine[:end], self.sine[:end])
            x = self.close(x, F.scaled_dot_product_attention(queries, keys, values, is_causal=True), layer)
        return self.logits(x[:, first:])

    def cache(self, rows):
        """Keys and values of each layer, each [rows, heads, CONTEXT, head]."""
        shape = rows, self.heads, CONTEXT, self.head
        return [(torch.zeros(shape), torch.zeros(shape)) for _ in self.layers]

    def prefill(self, tokens, cache):
        """Fills the cache from prompts [prompts, positions], each for rows / prompts rows in sequence.

        Returns the logits [rows, VOCABULARY] that follow.
        """
        prompts, end = tokens.shape
        repeats = len(cache[0][0]) // prompts
        x = F.embedding(tokens, self.embedding)
        for layer, stored in zip(self.layers, cache):
            queries, keys, values = self.heads_of(x, layer, self.cosine[:end], self.sine[:end])
            for into, new in zip(stored, (keys, values)):
                into.unflatten(0, (prompts, repeats))[:, :, :, :end] = new.unsqueeze(1)
            x = self.close(x, F.scaled_dot_product_attention(queries, keys, values, is_causal=True), layer)
        return self.logits(x[:, -1]).repeat_interleave(repeats, 0)

    def decode(self, tokens, cache, position):
        """Logits [rows, VOCABULARY] that follow tokens [rows, 1] at a position."""
        end = position + 1
        x = F.embedding(tokens, self.embedding)
        for layer, (keys, values) in zip(self.layers, cache):
            query, key, value = self.heads_of(x, layer, self.cosine[position:end], self.sine[position:end])
            keys[:, :, position:end] = key
            values[:, :, position:end] = value
            x = self.close(x, attend_one(query, keys[:, :, :end], values[:, :, :end]), layer)
        return self.logits(x[:, -1])

    def decode_static(self, tokens, cache, position):
        """As decode, for torch.compile: no shape depends on the position, a tensor [1]."""
        mask = (torch.arange(CONTEXT) <= position)[None]
        x = F.embedding(tokens, self.embedding)
        for layer, (keys, values) in zip(self.layers, cache):
            query, key, value = self.heads_of(x, layer, self.cosine[position], self.sine[position])
            keys.index_copy_(2, position, key)
            values.index_copy_(2, position, value)
            x = self.close(x, F.scaled_dot_product_attention(query, keys, values, attn_mask=mask), layer)
        return self.logits(x[:, -1])


def attend_one(query, keys, values):
    """Attention of one position over all in the cache. Few rows: the fused kernel; many: two products are faster."""
    if query.shape[0] < 32:
        return F.scaled_dot_product_attention(query, keys, values)
    scores = torch.matmul(query * query.shape[-1] ** -0.5, keys.transpose(-1, -2))
    return torch.matmul(scores.softmax(-1), values)


def compiled_decode(policy):
    """A decode that calls a compiled decode_static."""
    decode, positions = torch.compile(policy.decode_static), torch.arange(CONTEXT).split(1)
    return lambda tokens, cache, position: decode(tokens, cache, positions[position])


@torch.inference_mode()
def generate(policy, prompts, count, cache, decode=None):
    """Samples `count` tokens at temperature 1 for each row of the cache.

    Returns the tokens [rows, count] and their log-probabilities [rows, count].
    """
    decode = decode or policy.decode
    logits = policy.prefill(prompts, cache)
    tokens = torch.empty(len(logits), count, dtype=torch.long)
    log_probabilities = torch.empty(len(logits), count)
    for index in range(count):
        if index > 0:
            logits = decode(drawn, cache, prompts.shape[1] + index - 1)
        row = logits.log_softmax(-1)
        # The same draw as torch.multinomial's (arg max of p / exponential) without its checks.
        drawn = (row - torch.empty_like(row).exponential_().log_()).argmax(-1, keepdim=True)
        tokens[:, index : index + 1] = drawn
        log_probabilities[:, index : index + 1] = row.gather(-1, drawn)
    return tokens, log_probabilities
