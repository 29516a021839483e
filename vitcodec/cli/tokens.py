"""`vitcodec tokens`: pictures to shards of tokens."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import files
from ..errors import OutputError, UsageError
from ..options import EncodeOptions
from ..pretrained import registry
from ..target import parse_size
from . import options
from .batch import size
from .output import DONE, FAILED, INTERRUPTED, Output, debugging, explain, one_line
from .token_samples import Maker, Read, read_ahead

if TYPE_CHECKING:
    from ..shards.planning import Job, Names, Plan
    from ..shards.samples import Sample

EFFORT, SAMPLES, MAX_SIZE, FOLDER = 1, 1000, "256M", "folder"

Shards = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="NAME",
        show_default=False,
        help="shard-%06d.tar (WebDataset) or shard-%06d.safetensors; without %06d one file, if that is enough.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option("--labels", metavar=FOLDER, show_default=False, help="Label pictures by the folder that they are in."),
]
Shuffle = Annotated[bool, typer.Option("--shuffle", help="Mix the order, always in the same way. [default: sorted]")]
PerShard = Annotated[int, typer.Option("--samples-per-shard", min=1, metavar="N", help="Pictures in a file at most.")]
MaxSize = Annotated[str, typer.Option("--max-size", metavar="SIZE", help="A file is ended once it is so large.")]
Resume = Annotated[bool, typer.Option("--resume", help="Keep the files that there are, and add what they lack.")]


@dataclass
class _Made:
    """What became of the inputs, for messages."""

    out: Output
    total: int
    failed: list[str] = field(default_factory=list)
    noted: set[str] = field(default_factory=set)
    pending: list[dict[str, Any]] = field(default_factory=list)  # of samples that are in no file yet
    shards: list[str] = field(default_factory=list)
    stopped: str = ""  # why the rest was not done
    done: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    megapixels: float = 0.0

    def fail(self, name: str, error: Exception) -> None:
        line = explain(error, name).line
        self.failed.append(line)
        self.out.record({"file": name, "output": None, "status": "failed", "error": line})

    def note(self, name: str, notes: Sequence[str]) -> None:
        for note in notes:
            if note not in self.noted or self.out.verbose:
                self.out.warn(f"{one_line(name)}: {note}")
            self.noted.add(note)

    def add(self, job: Job, loaded: Read, sample: Sample, length: int) -> None:
        """A sample that is made, and in no file yet."""
        if loaded.picture is not None:
            self.note(job.source.name, loaded.picture.notes)
        width, height = sample.info["width"], sample.info["height"]
        self.megapixels += width * height / 1e6
        record: dict[str, Any] = {"file": job.source.name, "output": None, "key": job.key, "status": "done"}
        record |= {"width": width, "height": height, "label": sample.label}
        self.pending.append({**record, "bytes_in": loaded.size, "bytes_out": length})

    def written(self, shard: str, length: int) -> None:
        for record in self.pending:
            self.out.record({**record, "output": shard})
            self.bytes_in += record["bytes_in"]
        count = len(self.pending)
        self.out.say(f"{one_line(shard)}  {count} {'picture' if count == 1 else 'pictures'}, {size(length)}")
        self.shards.append(shard)
        self.done, self.bytes_out, self.pending = self.done + count, self.bytes_out + length, []


def tokens_command(
    inputs: options.Inputs,
    output: Shards,
    quality: options.Quality = None,
    effort: options.Effort = EFFORT,
    labels: Labels = None,
    shuffle: Shuffle = False,
    samples_per_shard: PerShard = SAMPLES,
    max_size: MaxSize = MAX_SIZE,
    recursive: options.Recursive = False,
    resume: Resume = False,
    overwrite: options.Overwrite = False,
    append_suffix: options.AppendSuffix = False,
    strict: options.Strict = False,
    model: options.Model = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Images or .vitc files to shards of tokens, which vitcodec.TokenDataset and WebDataset load.

    \b
    vitcodec tokens photos/ -r -o shard-%06d.tar
    vitcodec tokens photos/ -r -o shard-%06d.tar --resume     goes on, or adds new photos
    vitcodec tokens train/ -r -o train.tar --labels folder
    vitcodec tokens small/*.vitc -o tokens.safetensors        decodes tokens, no pixels
    """
    from ..shards import planning

    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict each other; give one")
    if labels not in (None, FOLDER):
        raise UsageError(f"--labels '{labels}' is not known; --labels {FOLDER} names a picture's class by its folder")
    out, names = Output(json, quiet, verbose), planning.Names.parse(output)
    how = EncodeOptions(quality=quality or EncodeOptions.quality, effort=effort, coding="tokens")
    most = round(parse_size(max_size))
    found = files.find_inputs(inputs, files.image_suffixes() | {files.SUFFIX}, recursive)
    settings: dict[str, Any] = {"labels": labels}
    if any(s.relative.suffix.lower() != files.SUFFIX for s in found.sources):
        config = registry.find(model)
        settings |= {"quality": how.quality, "effort": effort, "model": f"{config.name} {config.identity.hex()}"}
    jobs = planning.jobs_of(found.sources, append_suffix, labels == FOLDER, shuffle)
    plan = planning.plan(jobs, names, settings, overwrite, resume)
    made = _Made(out, len(jobs) + len(found.problems))
    for problem in found.problems:
        made.fail(problem.name, problem.error)
    for job, path in plan.held:
        out.detail(f"{one_line(job.source.name)}: skipped, {one_line(str(path))} holds it")
        out.record({"file": job.source.name, "output": str(path), "key": job.key, "status": "skipped"})
    code, began = DONE, time.perf_counter()
    if dry_run:
        for job in plan.jobs:
            out.result(f"{one_line(job.source.name)} -> {job.key}")
            out.record({"file": job.source.name, "output": None, "key": job.key, "status": "planned"})
    elif plan.jobs:
        maker = Maker(out, how, model, device, threads, max_pixels)
        if "quality" in settings:
            maker.codec(model)  # a model that cannot be loaded ends the command
        began = time.perf_counter()
        code = _make(made, plan, maker, settings, (samples_per_shard, most), names.suffix, overwrite)
    if code == DONE and overwrite and not dry_run:
        _say_left_over(out, names, made)
    result = _finish(made, plan, found, dry_run, strict, time.perf_counter() - began)
    return code or result


def _make(
    made: _Made,
    plan: Plan,
    maker: Maker,
    settings: dict[str, Any],
    limits: tuple[int, int],
    suffix: str,
    overwrite: bool,
) -> int:
    """Fill shard after shard. A shard is written when it is full, whole or not at all; then the next is begun.

    limits: pictures and bytes in a file. Returns the exit code.
    """
    from ..shards.samples import Manifest
    from ..shards.writing import new_shard

    out, shard = made.out, new_shard(suffix)
    number_of = {name: number for number, name in enumerate(plan.classes)}

    def write() -> None:
        nonlocal shard
        if shard.keys:
            data = shard.pack(Manifest(settings, plan.classes, shard.keys))
            path = next(plan.names)
            files.write_atomic(path, data, overwrite)
            made.written(str(path), len(data))
            shard = new_shard(suffix)

    if not debugging():
        warnings.filterwarnings("ignore", module="PIL")  # what matters to the user comes as a note or an error
    try:
        try:
            with out.progress(len(plan.jobs)) as bar:
                for job, loading in read_ahead(maker, plan.jobs):
                    try:
                        loaded = loading.result()
                        with bar.within(one_line(job.source.name)):
                            sample = maker.sample(job, loaded, number_of.get(job.folder or ""))
                    except Exception as error:
                        made.fail(job.source.name, error)
                        bar.advance()
                        continue
                    made.add(job, loaded, sample, shard.add(sample))
                    bar.advance(sample.info["width"] * sample.info["height"] / 1e6)
                    if len(shard.keys) >= limits[0] or shard.size >= limits[1]:
                        write()
        except KeyboardInterrupt:
            write()  # what is computed is kept
            made.stopped = "interrupted; --resume goes on from there"
            return INTERRUPTED
        write()
    except OutputError as error:
        made.stopped = f"{error}; then --resume goes on from there"
        return FAILED
    return DONE


def _say_left_over(out: Output, names: Names, made: _Made) -> None:
    old = [str(path) for path in names.existing().values() if str(path) not in made.shards]
    if old:
        more = f" and {len(old) - 1} more" if len(old) > 1 else ""
        out.warn(f"{old[0]}{more}: of an earlier run, which had more files; delete them, or they are read with these")


def _finish(made: _Made, plan: Plan, found: files.Found, dry_run: bool, strict: bool, seconds: float) -> int:
    """The summary; returns the exit code."""
    out, planned = made.out, len(plan.jobs) if dry_run else 0
    counts = [(planned, "planned"), (made.done, "done"), (len(plan.held), "skipped"), (len(made.failed), "failed")]
    counts.append((made.total - sum(n for n, _ in counts), "not done"))
    if made.total:
        text = ", ".join(f"{n} {what}" for n, what in counts if n)
        if made.done:
            text += f"; {size(made.bytes_in)} -> {size(made.bytes_out)}, {made.megapixels / seconds:.2f} MP/s"
        out.say(text)
    else:
        out.say("nothing to do: no input of a known kind was found")
    left_out = found.left_out.without([], map(files.Path, made.shards))
    failed_left_out = out.left_out(left_out, strict)
    out.summary(
        {
            "command": "tokens",
            **{what.replace(" ", "_"): n for n, what in counts},
            "shards": made.shards,
            "classes": list(plan.classes),
            "bytes_in": made.bytes_in,
            "bytes_out": made.bytes_out,
            "megapixels": round(made.megapixels, 6),
            "seconds": round(seconds, 4),
            "left_out": left_out.counts(),
        }
    )
    out.failures(made.failed, made.total)
    if made.stopped:
        out.error(made.stopped)
    return FAILED if made.failed or failed_left_out else DONE
