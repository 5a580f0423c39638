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
