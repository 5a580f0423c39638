"""The same policy as a transformers LlamaForCausalLM: generation, and GRPO with TRL."""

import tempfile
import time

import torch
from transformers import CompileConfig, LlamaConfig, LlamaForCausalLM

from model import CONTEXT, EPSILON, ROTARY_BASE, SIZES, VOCABULARY
from timing import enough
from works import COMPLETION, GROUP, KL_WEIGHT, LEARNING_RATE, PROMPT, WEIGHT_DECAY, distinct_prompts

# Padding and end of sequence lie outside of the model's vocabulary, so that neither can be drawn and every completion
# has the same length.
PADDING, END = VOCABULARY, VOCABULARY + 1


def llama(size):
    width, layers, heads, hidden = SIZES[size]
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": ROTARY_BASE},
        tie_word_embeddings=True,
        attention_bias=False,
        mlp_bias=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        dtype="float32",
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def load_weights(target, policy):
    """Copies a policy's weights into a LlamaForCausalLM."""
    with torch.no_grad():
        target.model.embed_tokens.weight.copy_(policy.embedding)
        target.model.norm.weight.copy_(policy.norm)
        for block, layer in zip(target.model.layers, policy.layers):
            attention, feed = block.self_attn, block.mlp
            for projection, weight in zip((attention.q_proj, attention.k_proj, attention.v_proj), layer.qkv.chunk(3)):
                projection.weight.copy_(weight)
            attention.o_proj.weight.copy_(layer.output)
            feed.gate_proj.weight.copy_(layer.gate)
            feed.up_proj.weight.copy_(layer.up)
            feed.down_proj.weight.copy_(layer.down)
            block.input_layernorm.weight.copy_(layer.attention_norm)
            block.post_attention_layernorm.weight.copy_(layer.feed_norm)


def sample(size, batch, compiled):
    """One step is one generation. Unlike the PyTorch engine it keeps no log-probabilities, which is less work."""
    model = llama(size).eval()
    settings = dict(do_sample=True, top_k=0, temperature=1.0, max_new_tokens=COMPLETION, use_cache=True, pad_token_id=0)
    if compiled:
        # On a CPU, generate compiles only when this flag asks for it, and only with a static cache.
        settings |= {"cache_implementation": "static", "compile_config": CompileConfig(fullgraph=False, mode="default")}
        settings["compile_config"]._compile_all_devices = True
    attention = torch.ones(batch, PROMPT, dtype=torch.long)

    @torch.inference_mode()
    def step():
        tokens = model.generate(distinct_prompts(batch), attention_mask=attention, **settings)
        assert tokens.shape == (batch, CONTEXT)
        return tokens

    return model, step


def tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = {str(word): word for word in range(VOCABULARY)} | {"<pad>": PADDING, "<end>": END}
    inner = Tokenizer(WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", padding_side="left", model_max_length=CONTEXT
    )


def parity_reward(completion_ids, **_):
    assert all(len(ids) == COMPLETION for ids in completion_ids)
    return [sum(token % 2 == 0 for token in ids) / COMPLETION for ids in completion_ids]


def grpo(size, batch, compiled, warmup, steps, seconds):
    """Trains with trl.GRPOTrainer and returns the milliseconds of the counted steps and the model."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    class Clock(TrainerCallback):
        """From the start of a step (before its rollout) to its end (after the optimiser)."""

        def __init__(self):
            self.all, self.started = [], 0.0

        def on_step_begin(self, *_, **__):
            self.started = time.perf_counter()

        def on_step_end(self, args, state, control, **_):
            self.all.append((time.perf_counter() - self.started) * 1e3)
            control.should_training_stop = enough(self.all[warmup:], steps, seconds)
            return control

    clock = Clock()
    prompts = [" ".join(str(token) for token in prompt) for prompt in distinct_prompts(4096).tolist()]
    with tempfile.TemporaryDirectory() as directory:
        # The trainer loads the reference model from where the policy says that it is from.
        llama(size).save_pretrained(directory)
        trainer = GRPOTrainer(
            model=LlamaForCausalLM.from_pretrained(directory),
            reward_funcs=parity_reward,
            processing_class=tokenizer(),
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            callbacks=[clock],
            args=GRPOConfig(
                output_dir=directory,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                torch_compile=compiled,  # the update and the reference; TRL's generation is never compiled
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=1,
                num_generations=GROUP,
                max_completion_length=COMPLETION,
                num_iterations=1,
                beta=KL_WEIGHT,
                temperature=1.0,
                loss_type="grpo",
                use_bias_correction_kl=False,
                learning_rate=LEARNING_RATE,
                weight_decay=WEIGHT_DECAY,
                max_grad_norm=1.0,
                optim="adamw_torch_fused",
                lr_scheduler_type="constant",
                max_steps=warmup + steps if steps else 100_000,
                dataloader_num_workers=0,
                dataloader_pin_memory=False,
                shuffle_dataset=False,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
        )
        trainer.train()
    return trainer.model, clock.all[warmup:]
