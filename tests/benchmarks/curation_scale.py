"""A whole curation at scale: `python tests/benchmarks/curation_scale.py PROBLEMS ... --traces FILE ... --folder DIR`.

Grows the problems and traces to `--scale` of 450,000 traces of 11 kB each (5 GB of text), four to a problem, and builds from
them with everything on that needs neither sampling nor verification: filters, duplicates, decontamination, faults of traces,
rules for readable traces, choice, selection, rejected rows, card and report. Prints the peak memory of all processes of the build
together, its time, and that of reading the same Parquet and writing it again, row group by row group.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from growing import originals, read_texts

from curation.files import read_rows

TRACES = 450_000
TRACE_CHARACTERS = 11_000
PER_PROBLEM = 4
ROWS_AT_ONCE = 2_000
SETTINGS = {
    "source.license": "mit",
    "clean.require_gold": "false",
    "clean.check_gold": "false",
    "clean.filters": "[figures, links, multipart, proofs]",
    "choose.without_gold": "true",
    "choose.per_problem": "1",
    "choose.rule": "longest",
    "choose.filters": "[language_mixing, code_in_thought, long_paragraph]",
    "select": "[{rule: mixture, by: words, edges: [500, 1000, 2000, 4000, 8000], size: 50000, seed: 42}]",
}


def _paragraphs(files: Sequence[Path]) -> list[str]:
    """The paragraphs of all responses in some files of traces."""
    rows = (row for file in files for row in read_rows(file))
    return [
        part
        for row in rows
        if isinstance(row.get("response"), str)
        for part in row["response"].split("\n\n")
        if part and "<|" not in part
    ]


def _trace(draw: random.Random, paragraphs: Sequence[str]) -> str:
    parts: list[str] = []
    wanted = draw.lognormvariate(0, 0.6) * TRACE_CHARACTERS / 1.2  # the mean of exp(N(0, 0.6)) is 1.2
    while wanted > 0:
        parts.append(draw.choice(paragraphs).replace("</think>", ""))
        wanted -= len(parts[-1])
    return "\n\n".join(parts) + f"\n</think>\n\nThe answer is \\boxed{{{draw.randrange(1000)}}}."


def _rows(count: int, problems: Sequence[str], paragraphs: Sequence[str], seed: int) -> Iterator[dict[str, str]]:
    draw = random.Random(seed)
    for number in range(count):
        question = problems[number // PER_PROBLEM]
        yield {"question": question, "response": _trace(draw, paragraphs), "model": f"model-{number % PER_PROBLEM}"}


def _write(path: Path, rows: Iterator[dict[str, str]]) -> int:
    schema = pa.schema([(name, pa.string()) for name in ("question", "response", "model")])
    characters, held = 0, []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for row in rows:
            characters += len(row["response"])
            held.append(row)
            if len(held) == ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(held, schema))
                held.clear()
        writer.write_table(pa.Table.from_pylist(held, schema))
    return characters


def _copied_s(source: Path, target: Path) -> float:
    start = time.perf_counter()
    with pq.ParquetFile(source) as file, pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as writer:
        for group in range(file.num_row_groups):
            writer.write_table(file.read_row_group(group))
    return time.perf_counter() - start


def _resident_bytes(parent: int) -> int:
    """Resident memory of a process and all that it started, from /proc."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        parents[int(folder.name)], sizes[int(folder.name)] = int(stat[1]), int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    found = [parent]
    for process in found:
        found += [child for child, of in parents.items() if of == process]
    return sum(sizes.get(process, 0) for process in found)


def _built(command: list[str]) -> tuple[float, float]:
    """Seconds that a command took, and the most GB that it and its children held at one look, four a second."""
    start = time.perf_counter()
    peak = 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            peak = max(peak, _resident_bytes(process.pid))
            time.sleep(0.25)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - start, peak / 1e9


def main() -> None:
    """Make the files, build, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path, help="problems to grow from")
    parser.add_argument("--traces", nargs="+", type=Path, required=True, help="files with a column `response`")
    parser.add_argument("--benchmarks", type=Path, help="a folder of benchmark files")
    parser.add_argument("--scale", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--executor", choices=["local"], help="do the shards in processes; needs datatrove")
    parser.add_argument("--folder", type=Path, required=True, help="where the files and the run go; emptied first")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    count = round(TRACES * arguments.scale)
    problems = list(originals(count // PER_PROBLEM + 1, arguments.seed, read_texts(arguments.files)))
    asked, traces = arguments.folder / "problems.jsonl", arguments.folder / "traces.parquet"
    asked.write_text("".join(json.dumps({"problem": text, "answer": ""}) + "\n" for text in problems), "utf-8")
    characters = _write(traces, _rows(count, problems, _paragraphs(arguments.traces), arguments.seed))
    print(f"{count} traces, {characters / 1e9:.2f} GB of text, {traces.stat().st_size / 1e9:.2f} GB of Parquet", flush=True)
    tests = ["--benchmarks", str(arguments.benchmarks)] if arguments.benchmarks else ["--set", "clean.benchmarks=[]"]
    command = [sys.executable, "-m", "factory", "build", "openr1-math", "--problems", str(asked), "--teacher", f"replay:{traces}"]
    command += ["--runs", str(arguments.folder / "runs"), "--workers", str(arguments.workers), *tests]
    command += ["--executor", arguments.executor] if arguments.executor else []
    command += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    started_cpu_s = time.process_time()
    copied_s = _copied_s(traces, arguments.folder / "copy.parquet")
    copied_cpu_s = time.process_time() - started_cpu_s
    built_s, peak_gb = _built(command)
    print(f"reading and writing the same Parquet: {copied_s:.1f} s; the build: {built_s:.1f} s, {built_s / copied_s:.1f} times")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"seconds of processors: {copied_cpu_s:.1f} and {used.ru_utime + used.ru_stime:.1f}")  # less disturbed by other work
    print(f"peak resident memory: {peak_gb:.2f} GB")


if __name__ == "__main__":
    main()
