"""Times one work of a Python peer and prints one line of JSON on standard output; all else goes to standard error.

    python peer.py WORK --size t|s|m --batch N [--engine pytorch|hf|trl] [--steps K] [--warmup W] [--threads 2]
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

WORKS = {
    "train-step": ("pytorch",),
    "sample": ("pytorch", "hf"),
    "grpo-step": ("pytorch", "trl"),
    "mmd": ("pytorch",),
    "mmoe-step": ("pytorch",),
    "start-up": ("pytorch",),
    "check": ("pytorch",),
}
BATCHES = {"mmd": 2048, "mmoe-step": 1024, "start-up": 1}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--size", choices=("t", "s", "m"), default="s")
    parser.add_argument("--batch", type=int, help="rows; without it 64, of mmd 2048, of mmoe-step 1024")
    parser.add_argument("--engine", choices=("pytorch", "hf", "trl"), default="pytorch")
    parser.add_argument("--steps", type=int, help="counted steps; without it as many as 3 seconds take, at least 5")
    parser.add_argument("--warmup", type=int, default=4, help="steps before those that count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="torch.compile, for the PyTorch engine")
    parsed = parser.parse_args()
    if parsed.engine not in WORKS[parsed.work]:
        parser.error(f"{parsed.work} runs with {' or '.join(WORKS[parsed.work])}")
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


def check():
    """The same logits from transformers, from the whole sequence and from the cache, for each size."""
    import huggingface
    import torch
    from model import SIZES, Policy

    worst = 0.0
    for size in SIZES:
        policy = Policy(SIZES[size])
        with torch.no_grad():
            for weight in policy.parameters():  # far from the initial values, at which logits are nearly 0
                weight.add_(torch.randn_like(weight) * 0.1)
        peer = huggingface.llama(size).eval()
        huggingface.load_weights(peer, policy)
        counts = sum(weight.numel() for weight in policy.parameters()), peer.num_parameters()
        assert counts[0] == counts[1], f"{size}: {counts} parameters"
        for rows in (3, 40):
            tokens = torch.randint(32, (rows, 64))
            with torch.inference_mode():
                theirs, ours = peer(tokens).logits, policy(tokens)
                cache = policy.cache(2 * rows)
                steps = [policy.prefill(tokens[:, :16], cache)[::2]]
                doubled = tokens.repeat_interleave(2, 0)
                for position in range(16, 64):
                    steps.append(policy.decode(doubled[:, position : position + 1], cache, position)[1::2])
                stepped = torch.stack(steps, 1)
            for name, mine, other in (("whole", ours, theirs), ("cached", stepped, theirs[:, 15:])):
                difference = (mine - other).abs().max().item()
                worst = max(worst, difference)
                print(f"{size}, {rows} rows, {name}: at most {difference:.1e} apart, "
                      f"logits of {other.std():.2f} standard deviation", file=sys.stderr)
                assert torch.allclose(mine, other, atol=1e-4, rtol=1e-4)
        print(f"{size}: {counts[0]:,} parameters, as in transformers", file=sys.stderr)
    return worst


def run(options):
    """Milliseconds of each counted step."""
    settle(options.threads)
    if options.work == "start-up":
        return start_up()

    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    def compiled(function, **settings):
        return torch.compile(function, **settings) if options.compile else function

    if options.engine == "trl":
        import huggingface

        model, milliseconds = huggingface.grpo(options.size, options.batch, options.warmup, options.steps, 3.0)
    else:
        import works

        if options.engine == "hf":
            import huggingface

            model, step = huggingface.sample(options.size, options.batch)
        elif options.work == "mmd":
            model, step = works.mmd(options.batch, compiled)
        elif options.work == "mmoe-step":
            model, step = works.mmoe_step(options.batch, compiled)
        else:
            build = {"train-step": works.train_step, "sample": works.sample, "grpo-step": works.grpo_step}
            model, step = build[options.work](options.size, options.batch, compiled)
        milliseconds = works.measure(step, options.warmup, options.steps, 3.0)
    if isinstance(model, torch.nn.Module):
        count = sum(weight.numel() for weight in model.parameters())
        print(f"{count:,} parameters ({count / 1e6:.2f}M)", file=sys.stderr)
    return milliseconds


def versions(engine):
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
    print(json.dumps(result), file=output)


if __name__ == "__main__":
    main()
