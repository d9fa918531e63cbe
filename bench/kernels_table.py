#!/usr/bin/env python3
"""The table of bench/kernels.sh, from Google Benchmark's JSON: milliseconds of ATen and of
each instruction set; how many times faster the best is than ATen; and the best's GB/s of
what the work must read and write at the least.
"""

import json
import sys

ISAS = ("portable", "avx2", "avx512")  # each better than the one before


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        benchmarks = json.load(file)["benchmarks"]
    kernels = {}  # (kernel, type) -> {side: benchmark}
    for benchmark in benchmarks:
        if benchmark.get("run_type", "iteration") == "iteration":
            kernel, dtype, side = benchmark["name"].split("/")[:3]
            kernels.setdefault((kernel, dtype), {})[side] = benchmark
    present = [isa for isa in ISAS if any(isa in sides for sides in kernels.values())]
    print("| kernel | type | ATen ms |" + "".join(f" {isa} ms |" for isa in present)
          + " times faster | GB/s |")
    print("|---|---|" + "---:|" * (len(present) + 3))
    for (kernel, dtype), sides in kernels.items():
        if "aten" not in sides or not any(isa in sides for isa in present):
            continue  # left out by a filter
        def ms(side):
            return f" {sides[side]['real_time']:.3f} |" if side in sides else " - |"
        best = sides[[isa for isa in present if isa in sides][-1]]
        print(f"| {kernel} | {dtype} |" + ms("aten") + "".join(map(ms, present))
              + f" {sides['aten']['real_time'] / best['real_time']:.1f} |"
              + f" {best['bytes_per_second'] / 1e9:.1f} |")


if __name__ == "__main__":
    main()
