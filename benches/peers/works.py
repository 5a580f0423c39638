"""The works of the PyTorch engine.

Each function returns the model and a closure that does one step. With `compiled`, what torch.compile makes faster
is compiled.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from model import CONTEXT, SIZES, VOCABULARY, Policy, compiled_decode, generate

PROMPT = 16
COMPLETION = CONTEXT - PROMPT
GROUP = 8
KL_WEIGHT = 0.04
CLIP = 0.2
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01


def compiling(compiled):
    return torch.compile if compiled else lambda function: function


def adamw(module):
    return torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)


def distinct_prompts(count):
    prompts = torch.randint(VOCABULARY, (count, PROMPT))
    assert len(prompts.unique(dim=0)) == count
    return prompts


def parity_reward(completions):
    """Fraction of even tokens, [rows]."""
    return (completions % 2 == 0).float().mean(-1)


def train_step(size, batch, compiled):
    policy = Policy(SIZES[size])
    parameters, optimizer = list(policy.parameters()), adamw(policy)

    @compiling(compiled)
    def loss_of(tokens, targets):
        return F.cross_entropy(policy(tokens).view(-1, VOCABULARY), targets.view(-1))

    def step():
        tokens = torch.randint(VOCABULARY, (batch, CONTEXT))
        targets = torch.randint(VOCABULARY, (batch, CONTEXT))
        loss_of(tokens, targets).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return policy, step


def sample(size, batch, compiled):
    policy = Policy(SIZES[size])
    cache = policy.cache(batch)
    decode = compiled_decode(policy) if compiled else policy.decode

    def step():
        return generate(policy, distinct_prompts(batch), COMPLETION, cache, decode)

    return policy, step


def grpo_step(size, batch, compiled):
    """One step as TRL does it with num_iterations = 1.

    Every rollout gets one update, so the old log-probabilities are the new ones detached: TRL computes no second
    forward pass for them in this setting either.
    """
    policy = Policy(SIZES[size])
    reference = copy.deepcopy(policy).requires_grad_(False)
    parameters, optimizer = list(policy.parameters()), adamw(policy)
    cache = policy.cache(batch)
    decode = compiled_decode(policy) if compiled else policy.decode

    def completion_log_probabilities(model, sequences):
        logits = model(sequences[:, :-1], first=PROMPT - 1)
        flat = F.cross_entropy(logits.reshape(-1, VOCABULARY), sequences[:, PROMPT:].reshape(-1), reduction="none")
        return -flat.view(batch, COMPLETION)

    @compiling(compiled)
    def loss_of(sequences, advantages, reference_log_probabilities):
        new = completion_log_probabilities(policy, sequences)
        ratio = torch.exp(new - new.detach())
        clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
        gain = torch.min(ratio * advantages, clipped * advantages)
        difference = reference_log_probabilities - new
        kl = difference.exp() - difference - 1
        return (KL_WEIGHT * kl - gain).mean()

    reference_log_probabilities_of = compiling(compiled)(lambda s: completion_log_probabilities(reference, s))

    def step():
        prompts = distinct_prompts(batch // GROUP)
        completions = generate(policy, prompts, COMPLETION, cache, decode)[0].clone()
        sequences = torch.cat((prompts.repeat_interleave(GROUP, 0), completions), 1)
        with torch.no_grad():
            reference_log_probabilities = reference_log_probabilities_of(sequences)
        rewards = parity_reward(completions).view(-1, GROUP)
        spread = rewards.std(1, keepdim=True) + 1e-4
        advantages = ((rewards - rewards.mean(1, keepdim=True)) / spread).view(-1, 1)
        loss_of(sequences, advantages, reference_log_probabilities).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return policy, step


def squared_mmd(x, y):
    """Biased MMD^2 of x and y, both [rows, width], with k(a, b) = exp(-|a - b|^2 / (2 * width)), and its gradient in x.

    The squared norms are two more columns of the factors, so that an exponent is one matrix product and the
    exponential is taken in place. The gradient is written out: autograd would hold three more kernel matrices.
    """
    rows, width = x.shape
    scale = 1 / (2 * width)
    one = torch.ones(rows, 1)

    def left(a):
        return torch.cat((a * (2 * scale), -scale * a.square().sum(1, keepdim=True), one), 1)

    def right(a):
        return torch.cat((a, one, -scale * a.square().sum(1, keepdim=True)), 1)

    left_x, right_y = left(x), right(y)
    kernel_xx = torch.mm(left_x, right(x).t()).exp_()
    kernel_yy = torch.mm(left(y), right_y.t()).exp_()
    kernel_xy = torch.mm(left_x, right_y.t()).exp_()
    sums_xx, sums_xy = kernel_xx.sum(1, keepdim=True), kernel_xy.sum(1, keepdim=True)
    value = (sums_xx.sum() + kernel_yy.sum() - 2 * sums_xy.sum()) / rows**2
    gradient = torch.mm(kernel_xx, x) - torch.mm(kernel_xy, y) - (sums_xx - sums_xy) * x
    return value, gradient * (4 * scale / rows**2)


def mmd(rows, compiled, width=64):
    x, y = torch.randn(rows, width), torch.randn(rows, width) + 0.3
    statistic = compiling(compiled)(squared_mmd)

    @torch.inference_mode()
    def step():
        return statistic(x, y)

    return None, step


class MixtureOfExperts(nn.Module):
    """Multi-gate mixture, all gates in one product.

    The experts are two batched products, or, which is faster only when compiled, a loop.
    """

    def __init__(self, loop, width=64, experts=8, tasks=2):
        super().__init__()

        def uniform(*shape):
            return nn.Parameter(torch.empty(shape).uniform_(-(width**-0.5), width**-0.5))

        self.loop, self.experts, self.tasks = loop, experts, tasks
        self.first, self.first_bias = uniform(experts, width, width), uniform(experts, 1, width)
        self.second, self.second_bias = uniform(experts, width, width), uniform(experts, 1, width)
        self.gate, self.gate_bias = uniform(tasks * experts, width), uniform(tasks * experts)
        self.tower, self.tower_bias = uniform(tasks, width), uniform(tasks)

    def forward(self, x):
        """Logits [rows, tasks] of x [rows, width]."""
        gates = F.linear(x, self.gate, self.gate_bias).view(-1, self.tasks, self.experts).softmax(-1)
        if self.loop:
            mixed = 0
            for expert in range(self.experts):
                h = torch.addmm(self.first_bias[expert], x, self.first[expert]).relu()
                h = torch.addmm(self.second_bias[expert], h, self.second[expert]).relu()
                mixed = mixed + gates[:, :, expert, None] * h[:, None]
        else:
            h = torch.baddbmm(self.first_bias, x.expand(self.experts, -1, -1), self.first).relu()
            h = torch.baddbmm(self.second_bias, h, self.second).relu()  # [experts, rows, width]
            mixed = torch.bmm(gates, h.transpose(0, 1))  # [rows, tasks, width]
        return (mixed * self.tower).sum(-1) + self.tower_bias


def mmoe_step(batch, compiled):
    model = MixtureOfExperts(loop=compiled)
    optimizer = adamw(model)
    x, labels = torch.randn(batch, 64), torch.randint(2, (batch, 2)).float()

    @compiling(compiled)
    def loss_of(x, labels):
        # The sum over the tasks of the means over the rows.
        return F.binary_cross_entropy_with_logits(model(x), labels, reduction="sum") / batch

    def step():
        loss_of(x, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, step
