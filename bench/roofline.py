#!/usr/bin/env python3
"""Estimates a training step on a GPU that nobody has measured: where its time and its memory
go, from the model's shape and the limits of the card. Prints the tables of docs/cuda.md.

    python3 bench/roofline.py

The step is that of configs/lowmem.yaml: bf16, blocks trained, recompute, update, Adafactor.
Its operations are those of the code, one by one, so their number can be checked: COUNTED
holds what the program does on the fake GPU of tests/fake_gpu, which has no speed.

A product or kernel takes the longest of: its operations at the rate that good kernels reach,
its bytes at the rate that memory gives, and FLOOR. The host issues launches while the GPU
works, so a step takes the longer of the two.
"""

from collections import namedtuple
from math import ceil

# An H200. PEAK is the data sheet's, the rates are what good kernels reach of the sheet's
# 989 TFLOP/s and 4.8 TB/s.
PEAK, RATE, MEMORY, PROCESSORS = 989e12, 790e12, 4.0e12, 132
FLASH_FORWARD, FLASH_BACKWARD = 350e12, 250e12  # FlashAttention 2, deterministic backward
FLOOR = 2e-6  # of a kernel that has next to nothing to do
READ = 0.6e-6  # wait for memory
LAUNCH, GRAPH = 4.5e-6, 10e-6  # the host's time for a launch, for a whole graph
PYTHON_LAUNCH = 10e-6  # the same from Python, with autograd, checkpoints and hooks
MIB, GIB = 2**20, 2**30

Model = namedtuple("Model", "name blocks hidden inner heads kv_heads head vocabulary tied target")
MODELS = [
    Model("Llama-3.2-1B", 16, 2048, 8192, 32, 8, 64, 128256, True, 2.5),
    Model("Llama-3.1-8B", 32, 4096, 14336, 32, 8, 128, 128256, False, 15.8),
]
# `sequences` of `length` tokens, of which `labelled` have a label; `tokens` with padding.
Batch = namedtuple("Batch", "name sequences length labelled tokens")
BATCHES = [
    Batch("8 x 50", 8, 50, 18, 512),
    Batch("8 x 160", 8, 160, 54, 1280),
    Batch("4 x 2048", 4, 2048, 2047, 8192),
]
# Of a step without graphs: blocks, launches and TFLOP of products (8B: of four blocks), and
# the peak of the caching allocator in bytes, of all blocks.
Counted = namedtuple("Counted", "blocks launches tflop peak")
COUNTED = {
    ("Llama-3.2-1B", "8 x 50"): Counted(16, 2221, 3.701624, 2580994560),
    ("Llama-3.2-1B", "8 x 160"): Counted(16, 2311, 9.361116, 2663391744),
    ("Llama-3.2-1B", "4 x 2048"): Counted(16, 2617, 67.974795, 3578914816),
    ("Llama-3.1-8B", "8 x 50"): Counted(4, 662, 3.061305, 16379837952),
    ("Llama-3.1-8B", "8 x 160"): Counted(4, 692, 7.916900, 16644728320),
    ("Llama-3.1-8B", "4 x 2048"): Counted(4, 777, 70.525896, 19277363200),
}
# Items that are printed though their moment is not the peak.
WATCHED = ["dk, dv of every head", "dq in fp32", "logits of a slice"]
PYTHON_LAUNCHES = 7365  # a step of scripts/gpu_check/compare.py recipe, kernels and fills

# What a class of operations adds up to.
Cost = namedtuple("Cost", "flops bytes seconds launches")


def total(costs):
    return Cost(*map(sum, zip(*costs))) if costs else Cost(0, 0, 0, 0)


def times(count, cost):
    return Cost(*(count * number for number in cost))


def product(rows, columns, inner):
    """[rows, inner] x [inner, columns] in bf16. Tiles of the result go to the processors in
    rounds, and small tiles compute less for what they read."""
    seconds = min(
        ceil(ceil(rows / a) * ceil(columns / b) / PROCESSORS)
        * (2 * a * b * inner * PROCESSORS / (RATE * share))
        for a, b, share in [(128, 256, 1), (128, 128, 0.9), (64, 128, 0.75), (64, 64, 0.55)]
    )
    flops = 2 * rows * columns * inner
    moved = 2 * (rows * columns + rows * inner + columns * inner)
    return Cost(flops, moved, max(seconds, moved / MEMORY, FLOOR), 1)


def kernel(moved, launches=1):
    return Cost(0, moved, max(moved / MEMORY, launches * FLOOR), launches)


def attention(m, batch, queries, moved, rate, factor, launches):
    """`queries` of each sequence, its last; `factor` operations a number, a key and a query."""
    pairs = queries * batch.length - queries * (queries - 1) / 2
    length = 128 * ceil(batch.length / 128)  # it works in blocks of 128
    blocks = min(128 * ceil(queries / 128), length)
    done = blocks * length - blocks * (blocks - 128) / 2
    width = factor * m.heads * m.head * batch.sequences
    return Cost(
        width * pairs, moved, max(width * done / rate, moved / MEMORY, launches * FLOOR), launches
    )


def matrices(m):
    """[out, in] of a block's weights: q, k, v, o, gate, up, down."""
    q, kv = m.heads * m.head, m.kv_heads * m.head
    attention_of = [(q, m.hidden), (kv, m.hidden), (kv, m.hidden), (m.hidden, q)]
    return attention_of + [(m.inner, m.hidden), (m.inner, m.hidden), (m.hidden, m.inner)]


def slices(m, rows):
    """Columns of each slice in which the gradient of down is made: ops/swiglu_linear."""
    count = min(8, max(1, ceil(2 * rows * m.inner / (8 * MIB))))
    columns = 64 * ceil(m.inner / count / 64)
    return [min(columns, m.inner - first) for first in range(0, m.inner, columns)]


def classes(m, rows):
    """Of the vocabulary in each slice of the logits: loss/linear_cross_entropy."""
    most = min(32 * MIB // (2 * rows), 128 * MIB // (2 * m.hidden))
    return min(m.vocabulary, max(8192, most) // 64 * 64)


def adafactor(rows, columns):
    """12 bytes a weight; two of the launches are one block that goes over all rows."""
    launches = 7 + (columns > 2048)
    one_block = 6 * READ * ceil(rows / 2048)
    cost = kernel(12 * rows * columns, launches - 2)
    return cost._replace(seconds=cost.seconds + 2 * FLOOR + one_block, launches=launches)


def block(m, batch, last):
    """One block's costs by class. The last one asks for labelled tokens alone."""
    n, width, kv = batch.tokens, m.heads * m.head, m.kv_heads * m.head
    queries = batch.labelled if last else batch.length
    r = batch.sequences * batch.labelled if last else n  # rows of q, o and the MLP
    out = [r, n, n, r, r, r, r]  # rows of each matrix's output
    hidden, pieces = 2 * m.hidden, slices(m, r)

    forward = [product(k, a, b) for k, (a, b) in zip(out, matrices(m))]
    gradients = []
    for k, (a, b) in list(zip(out, matrices(m)))[:6]:
        gradients += [product(a, b, k), product(k, b, a)]
    for piece in pieces:
        gradients += [product(r, piece, m.hidden), product(m.hidden, piece, r)]

    norms = [kernel(2 * hidden * n), kernel(2 * hidden * r)]
    rotary = [kernel(4 * width * r), kernel(4 * kv * n)]
    add = kernel(3 * hidden * r)
    remade = [kernel(2 * hidden * n)] * (2 if last else 3) + [kernel(2 * hidden * r)] * 2
    norm_backward = [kernel(5 * hidden * n, 5), kernel(5 * hidden * r, 5)]
    small = [times(2, total(norms + rotary + [add, add])), kernel(6 * m.inner * r)]
    small += remade + norm_backward + rotary + 5 * [add]
    small += [kernel(12 * piece * r) for piece in pieces]

    ends = 2 * (2 * width * r + 2 * kv * n)
    back = 2 * (4 * width * r + 4 * kv * n + 4 * width * n) + 16 * width * r
    heads = [
        attention(m, batch, queries, ends, FLASH_FORWARD, 4, 1),
        attention(m, batch, queries, ends, FLASH_FORWARD, 4, 1),
        attention(m, batch, queries, back, FLASH_BACKWARD, 10, 6),
    ]
    updates = [adafactor(a, b) for a, b in matrices(m)] + 2 * [adafactor(1, m.hidden)]
    return {
        "products, forward": total(forward),
        "products, recomputed": total(forward[:6]),  # all but down
        "products, gradients": total(gradients),
        "attention, three times": total(heads),
        "norm, rotary, SwiGLU, sums": total(small),
        "Adafactor": total(updates),
    }


def loss(m, batch):
    """Logits a slice of the vocabulary at a time."""
    rows = batch.sequences * batch.labelled
    width = classes(m, rows)
    count = ceil(m.vocabulary / width)
    mean = rows * m.hidden  # fp32, multiplied and added to with each slice
    one = [product(rows, width, m.hidden), product(rows, m.hidden, width)]
    one += [kernel(4 * rows * width), kernel(8 * mean), kernel(10 * mean)]
    return times(m.vocabulary / width, total(one))._replace(launches=5 * count)


def step(m, batch):
    one, last = block(m, batch, False), block(m, batch, True)
    found = {name: total([times(m.blocks - 1, one[name]), last[name]]) for name in one}
    # Embeddings, angles, selections, the gradient book's numbers.
    found["head, loss, rest"] = total([loss(m, batch), kernel(0, 42)])
    return found


def nominal(m, batch):
    """What scripts/gpu_check/flops.awk counts: every product forward, again, twice back."""
    tokens, rows = batch.sequences * batch.length, batch.sequences * batch.labelled
    weights = sum(a * b for a, b in matrices(m))
    products = 2 * m.blocks * weights * tokens
    pairs = 2 * m.blocks * m.heads * m.head * tokens * batch.length
    return 4 * (products + pairs) + 3 * 2 * m.vocabulary * m.hidden * rows


def host(m, batch):
    """Launches a step: all; with graphs, those that are left and graphs. The last block is
    never recorded, and a graph's input and output are copied, five copies a block."""
    one, last = block(m, batch, False), block(m, batch, True)
    every = sum(cost.launches for cost in step(m, batch).values())
    recorded = (m.blocks - 1) * sum(cost.launches for cost in one.values())
    return every, every - recorded + 5 * (m.blocks - 1), 2 * (m.blocks - 1)


def memory(m, batch):
    """Bytes of the allocator: what stays, and what is added to it at each moment that may be
    the peak. One of the last block, which has the labelled rows only, one of the others."""
    n, labelled = batch.tokens, batch.sequences * batch.labelled
    width, kv, hidden = 2 * m.heads * m.head, 2 * m.kv_heads * m.head, 2 * m.hidden
    weights = [a * b for a, b in matrices(m)]
    tables = (1 if m.tied else 2) * m.vocabulary * m.hidden
    averages = m.blocks * (sum(a + b for a, b in matrices(m)) + 2 * m.hidden)
    stays = {
        "weights": 2 * (m.blocks * sum(weights) + tables + (2 * m.blocks + 1) * m.hidden),
        "Adafactor's averages": 4 * averages,
        "cuBLAS workspace": 8 * MIB + 128 * 1024,
        "rotary angles": 4 * m.head * (n + labelled),
    }
    moments = {}
    # `own`: the labelled rows of the last block's input, which it copies.
    for name, rows, kept, own in [
        ("of the last block but one", n, (m.blocks - 2) * hidden * n, 0),
        ("of the last block", labelled, (m.blocks - 1) * hidden * n, hidden * labelled),
    ]:
        # q, k, v, the heads' outputs and their log-sums; then the stream, the gradient of
        # the output, gate and up.
        heads = 2 * width * rows + 2 * kv * n + 4 * m.heads * rows + own
        activations = heads + 2 * hidden * rows + 4 * m.inner * rows
        moments["end of the recomputation " + name] = {
            "kept inputs": kept,
            "a block's activations": activations,
            "its output, a norm's, a sum": 3 * hidden * rows + own,
        }
        moments["largest gradient " + name] = {
            "kept inputs": kept,
            "a block's activations": activations,
            "largest gradient": 2 * max(weights),
            "a product's input, remade": max(
                hidden * rows, 2 * rows * slices(m, rows)[0]
            ),
        }
        sequences = batch.sequences + 1  # padding is one, also where it is empty
        split = ceil(PROCESSORS / (sequences * m.heads))
        moments["flash attention's backward pass " + name] = {
            "kept inputs": kept,
            "a block's activations": heads + hidden * rows,
            "gradients of q, k, v, heads": 2 * width * rows + 2 * kv * n,
            "dk, dv of every head": 2 * width * n,
            "dq in fp32": 2 * split * (rows + 128 * sequences) * width,
        }
    moments["loss"] = {
        "kept inputs": (m.blocks - 1) * hidden * n,
        "labelled rows, their norm's": 2 * hidden * labelled,
        "logits of a slice": 2 * labelled * classes(m, labelled),
        "mean in fp32, a term of it": 3 * hidden * labelled,
    }
    return stays, moments


def peak(m, batch):
    stays, moments = memory(m, batch)
    name = max(moments, key=lambda moment: sum(moments[moment].values()))
    return sum(stays.values()) + sum(moments[name].values()), name


def row(*cells):
    print("| " + " | ".join(cells) + " |")


def heading(*cells):
    row(*cells)
    print("|" + "---|" * len(cells))


def print_time(m):
    steps = [step(m, batch) for batch in BATCHES]
    heading(f"{m.name}: TFLOP, GB, ms", *(batch.name for batch in BATCHES))
    cell = "{0.flops:.1f}, {0.bytes:.1f}, {ms:.1f}".format
    scaled = lambda cost: cost._replace(flops=cost.flops / 1e12, bytes=cost.bytes / 1e9)
    for name in steps[0]:
        row(name, *(cell(scaled(s[name]), ms=1e3 * s[name].seconds) for s in steps))
    sums = [total(list(s.values())) for s in steps]
    row("**GPU, all**", *("**" + cell(scaled(s), ms=1e3 * s.seconds) + "**" for s in sums))
    print()


def step_seconds(m, batch, graphs):
    gpu = sum(cost.seconds for cost in step(m, batch).values())
    every, left, recorded = host(m, batch)
    issue = left * LAUNCH + recorded * GRAPH if graphs else every * LAUNCH
    return gpu, issue, max(gpu, issue)


def print_steps():
    heading(
        "a step", "launches", "host, ms", "launches + graphs", "host, ms", "GPU, ms",
        "`auto`, ms", "examples/s", "share of 989 TFLOP/s",
    )  # fmt: skip
    for m in MODELS:
        for batch in BATCHES:
            every, left, recorded = host(m, batch)
            gpu, eager, _ = step_seconds(m, batch, False)
            graphed = step_seconds(m, batch, True)[1]
            seconds = step_seconds(m, batch, batch.tokens <= 1024)[2]
            row(
                f"{m.name}, {batch.name}", f"{every:.0f}", f"{1e3 * eager:.1f}",
                f"{left:.0f} + {recorded}", f"{1e3 * graphed:.1f}", f"{1e3 * gpu:.1f}",
                f"{1e3 * seconds:.1f}", f"{batch.sequences / seconds:.0f}",
                f"{nominal(m, batch) / seconds / PEAK:.1%}",
            )  # fmt: skip
    print()


def print_recipe():
    """The Python recipe on 1B, padded to 8 x 160: 110 bytes of element-wise passes a weight
    in its optimizer, whole logits in fp32, and its launches one by one."""
    m, padded = MODELS[0], BATCHES[1]
    one = block(m, padded, False)
    parts = [one[name].seconds for name in list(one)[:5]]
    weights = m.blocks * sum(a * b for a, b in matrices(m))
    rows = padded.sequences * padded.length
    logits = 3 * product(rows, m.vocabulary, m.hidden).seconds
    logits += 40 * rows * m.vocabulary / MEMORY
    update = 110 * weights / MEMORY
    gpu = m.blocks * (sum(parts) + one["products, forward"].seconds / 4) + logits + update
    issue = [PYTHON_LAUNCHES * each for each in (LAUNCH, PYTHON_LAUNCH)]
    low, high = (max(gpu, host_seconds) for host_seconds in issue)
    print(
        f"The Python recipe on {m.name}, any rows padded to 8 x 160: GPU {1e3 * gpu:.0f} ms, of "
        f"which {1e3 * update:.0f} its optimizer; host {1e3 * issue[0]:.0f} to "
        f"{1e3 * issue[1]:.0f} ms; a step {1e3 * low:.0f} to {1e3 * high:.0f} ms."
    )
    for batch in BATCHES[:2]:
        seconds = step_seconds(m, batch, batch.tokens <= 1024)[2]
        print(f"{batch.name}: {low / seconds:.1f} to {high / seconds:.1f} times as fast.")
    print()


# The host's memory over the bus: PCIe 4 and 5 with 16 lanes, as copies reach them.
BUSES = [25e9, 50e9]
LARGEST = Model("Llama-3.1-70B", 80, 8192, 28672, 64, 8, 128, 128256, False, None)


def print_bus():
    """memory.weights = host: a block comes for each direction and goes back once, while
    others compute; the two directions of the bus go side by side. Where the step is bound
    by the bus, more tokens cost nothing: as many as make arithmetic as long break even."""
    heading(
        "blocks trained, `memory.weights: host`", "read, GB a step", "written",
        *(f"{bus / 1e9:.0f} GB/s: s a step, break-even tokens" for bus in BUSES),
    )  # fmt: skip
    for m in [MODELS[1], LARGEST]:
        weights = 2 * m.blocks * sum(a * b for a, b in matrices(m))
        head = 2 * m.vocabulary * m.hidden
        read = weights * (2 - 3 / m.blocks) + head  # three blocks are still there
        cells = []
        for bus in BUSES:
            seconds = max(read, weights) / bus
            tokens = 128
            while True:
                batch = Batch("", max(1, tokens // 512), min(512, tokens), min(511, tokens), tokens)
                if sum(cost.seconds for cost in step(m, batch).values()) >= seconds:
                    break
                tokens += 128
            cells.append(f"{seconds:.2f}, {tokens}")
        row(m.name, f"{read / 1e9:.1f}", f"{weights / 1e9:.1f}", *cells)
    print()


def print_memory():
    cases = [(m, batch) for m in MODELS for batch in BATCHES]
    heading("MiB", *(f"{m.name[-2:]}, {batch.name}" for m, batch in cases))
    found = [memory(m, batch) for m, batch in cases]
    peaks = [peak(m, batch) for m, batch in cases]
    at_peak = [moments[name] for (_, moments), (_, name) in zip(found, peaks)]
    mib = lambda number: f"{number / MIB:.1f}" if number else "-"
    for name in found[0][0]:
        row(name, *(mib(stays[name]) for stays, _ in found))
    for name in dict.fromkeys(item for moment in at_peak for item in moment):
        row(name, *(mib(moment.get(name)) for moment in at_peak))
    row("**peak, GiB**", *(f"**{number / GIB:.3f}**" for number, _ in peaks))
    counted = [COUNTED[m.name, batch.name].peak for m, batch in cases]
    row("counted on the fake GPU, GiB", *(f"{number / GIB:.3f}" for number in counted))
    row("target, GiB", *(f"{m.target}" if batch.sequences == 8 else "-" for m, batch in cases))
    for moment in ["flash attention's backward pass of the last block but one", "loss"]:
        of_each = [moments[moment] for _, moments in found]
        row(f"not the peak: {moment}", *(mib(sum(items.values())) for items in of_each))
        for name in WATCHED:
            if name in of_each[0]:
                row(f"of that {name}", *(mib(items[name]) for items in of_each))
    print()


def check():
    """Launches and operations are the program's, memory is to 0.1%."""
    for (model, name), counted in COUNTED.items():
        m = next(one for one in MODELS if one.name == model)
        batch = next(one for one in BATCHES if one.name == name)
        shallow = m._replace(blocks=counted.blocks)
        launches = host(shallow, batch)[0]
        assert launches == counted.launches, (model, name, launches, counted.launches)
        parts = step(shallow, batch)
        products = [part for part in parts if part.startswith(("products", "head"))]
        tflop = sum(parts[part].flops for part in products) / 1e12
        assert abs(tflop / counted.tflop - 1) < 1e-5, (model, name, tflop, counted.tflop)
        found = peak(m, batch)[0]
        assert abs(found / counted.peak - 1) < 1e-3, (model, name, found, counted.peak)


if __name__ == "__main__":
    check()
    for each in MODELS:
        print_time(each)
    print_steps()
    print_recipe()
    print_bus()
    print_memory()
