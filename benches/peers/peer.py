"""Times one work of a Python peer and prints one line of JSON on standard output; all else goes to standard error.

    python peer.py WORK --size t|s|m --batch N [--engine pytorch|hf|trl|t-recs] [--steps K] [--warmup W] [--threads 2]
        [--compile]
    python peer.py check
"""

import os
import sys
import time


def process_age():
    """Seconds since the kernel started this process, to 10 ms."""
    try:
        with open("/proc/self/stat") as file:
            start = int(file.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - start
    except OSError:
        return 0.0


BORN = time.perf_counter() - process_age()

import argparse
import contextlib
import json
import platform
import resource

from timing import measure

WORKS = {
    "train-step": ("pytorch",),
    "sample": ("pytorch", "hf"),
    "grpo-step": ("pytorch", "trl"),
    "recommend-round": ("t-recs",),
    "start-up": ("pytorch",),
    "check": ("pytorch",),
}
SECONDS = 3.0
BATCHES = {"recommend-round": 100, "start-up": 1}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--size", choices=("t", "s", "m"), default="s")
    parser.add_argument("--batch", type=int, help="rows; without it 64, of recommend-round 100")
    parser.add_argument("--engine", choices=("pytorch", "hf", "trl", "t-recs"), help="without it the first of the work's")
    parser.add_argument("--steps", type=int, help="counted steps; without it as many as 3 seconds take, at least 5")
    parser.add_argument("--warmup", type=int, default=4, help="steps before those that count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="use torch.compile where the engine can")
    parsed = parser.parse_args()
    parsed.engine = parsed.engine or WORKS[parsed.work][0]
    if parsed.engine not in WORKS[parsed.work]:
        parser.error(f"{parsed.work} runs with {' or '.join(WORKS[parsed.work])}")
    if parsed.compile and parsed.work in ("recommend-round", "start-up", "check"):
        parser.error(f"{parsed.work} compiles nothing")
    if parsed.batch is None:
        parsed.batch = BATCHES.get(parsed.work, 64)
    return parsed


def settle(threads):
    """What must be set before torch is imported: threads, no GPU, no network, and an allocator that keeps memory."""
    os.environ |= {
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    # By default the C library returns each large block to the system as it is freed and pays for its pages again in
    # the next step. Keeping them is what the replacement allocators that PyTorch recommends do.
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        library = ctypes.CDLL("libc.so.6")
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        library.mallopt(-4, 0)  # M_MMAP_MAX


def start_up():
    """The smallest use: a model, one prompt of one token, one token sampled."""
    import torch
    from model import SIZES, Policy, generate

    policy = Policy(SIZES["s"])
    generate(policy, torch.zeros(1, 1, dtype=torch.long), 1, policy.cache(1))
    return [(time.perf_counter() - BORN) * 1e3]


def agree(name, ours, theirs):
    import torch

    difference = (ours - theirs).abs().max().item()
    print(f"{name}: at most {difference:.1e} apart, the largest {theirs.abs().max():.1e}", file=sys.stderr)
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4), name
    return difference


def check():
    """The largest difference between the logits of what is timed and those of transformers, for each size from whole
    sequences and from the cache."""
    import huggingface
    import torch
    from model import SIZES, Policy

    torch.manual_seed(0)

    worst = 0.0
    for size in SIZES:
        policy = Policy(SIZES[size])
        with torch.no_grad():
            for weight in policy.parameters():  # far from the initial values, at which logits are nearly 0
                weight.add_(torch.randn_like(weight) * 0.1)
        peer = huggingface.llama(size).eval()
        huggingface.load_weights(peer, policy)
        count = sum(weight.numel() for weight in policy.parameters())
        assert count == peer.num_parameters()
        print(f"{size}: {count:,} parameters, as in transformers", file=sys.stderr)
        for rows in (3, 40):
            tokens = torch.randint(32, (rows, 64))
            doubled = tokens.repeat_interleave(2, 0)  # each prompt is prefilled once and followed by two rows
            with torch.inference_mode():
                theirs = peer(tokens).logits
                cache = policy.cache(2 * rows)
                stepped = [policy.prefill(tokens[:, :16], cache)[::2]]
                static = stepped.copy()
                copied = [tuple(tensor.clone() for tensor in layer) for layer in cache]
                for position in range(16, 64):
                    one = doubled[:, position : position + 1]
                    stepped.append(policy.decode(one, cache, position)[1::2])
                    static.append(policy.decode_static(one, copied, torch.tensor([position]))[1::2])
                worst = max(
                    worst,
                    agree(f"{size}, {rows} rows, whole", policy(tokens), theirs),
                    agree(f"{size}, {rows} rows, cache", torch.stack(stepped, 1), theirs[:, 15:]),
                    agree(f"{size}, {rows} rows, static", torch.stack(static, 1), theirs[:, 15:]),
                )
    return worst


def run(options):
    """Milliseconds of each counted step."""
    settle(options.threads)
    if options.work == "start-up":
        return start_up()
    if options.engine == "t-recs":
        from t_recs import recommend_round

        return measure(recommend_round(options.batch), options.warmup, options.steps, SECONDS)

    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    if options.engine == "trl":
        import huggingface

        model, milliseconds = huggingface.grpo(
            options.size, options.batch, options.compile, options.warmup, options.steps, SECONDS
        )
    else:
        import works

        if options.engine == "hf":
            import huggingface

            model, step = huggingface.sample(options.size, options.batch, options.compile)
        else:
            build = {"train-step": works.train_step, "sample": works.sample, "grpo-step": works.grpo_step}
            model, step = build[options.work](options.size, options.batch, options.compile)
        milliseconds = measure(step, options.warmup, options.steps, SECONDS)
    count = sum(weight.numel() for weight in model.parameters())
    print(f"{count:,} parameters ({count / 1e6:.2f}M)", file=sys.stderr)
    return milliseconds


def versions(engine):
    if engine == "t-recs":
        from t_recs import VERSION

        return {"python": platform.python_version(), "trecs": VERSION}
    import torch

    found = {"python": platform.python_version(), "torch": torch.__version__}
    for name in {"pytorch": (), "hf": ("transformers",), "trl": ("transformers", "trl", "accelerate")}[engine]:
        found[name] = sys.modules[name].__version__
    return found


def main():
    options = arguments()
    output = os.fdopen(os.dup(1), "w")  # the only way to standard output from here on
    os.dup2(2, 1)
    if options.work == "check":
        settle(options.threads)
        print(json.dumps({"work": "check", "largest_difference": check()}), file=output)
        return
    milliseconds = run(options)
    result = {
        "work": options.work,
        "size": options.size,
        "batch": options.batch,
        "engine": options.engine,
        "milliseconds": [round(value, 4) for value in milliseconds],
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "versions": versions(options.engine),
    }
    if options.compile:
        result["compile"] = True
    print(json.dumps(result), file=output, flush=True)


if __name__ == "__main__":
    main()
