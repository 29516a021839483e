"""`vitcodec encode`."""

from __future__ import annotations

import io
from dataclasses import replace

from .. import files
from . import batch, options
from .output import Output

DEFAULT_QUALITY = 50  # codec.DEFAULT_QUALITY, which imports torch; a test compares them


def encode_command(
    inputs: options.Inputs,
    output: options.Target = None,
    quality: options.Quality = DEFAULT_QUALITY,
    recursive: options.Recursive = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    strip: options.Strip = False,
    model: options.Model = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Images to .vitc files.

    \b
    vitcodec encode photo.jpg                     photo.vitc, beside it
    vitcodec encode photos/ -r -o small/ -q 40    a tree of photos, mirrored
    vitcodec encode - -o - < a.png > a.vitc       through a pipe
    """
    out = Output(json, quiet, verbose, to_stdout=options.is_stdout(inputs, output))
    found = files.find_inputs(inputs, files.IMAGE_SUFFIXES, recursive)
    plan = files.plan_outputs(found, output, files.SUFFIX, overwrite, skip_existing)

    def start() -> batch.Work:
        from ..codec import Codec
        from ..images import MAX_PIXELS, read_image

        codec = Codec.load(model, device, threads)
        options.say_device(out, codec.name, device)

        def work(job: files.Job) -> batch.Result:
            data = options.read(job.source)
            picture = read_image(io.BytesIO(data), max_pixels or MAX_PIXELS, job.source.name)
            if strip:
                picture = replace(picture, icc=None, exif=None, xmp=None)
            height, width = picture.rgb.shape[:2]
            encoded = codec.encode(picture, quality)
            options.write(job, encoded, overwrite)
            bpp = 8 * len(encoded) / (width * height)
            text = f"{width}x{height}, {batch.size(len(data))} -> {batch.size(len(encoded))}, {bpp:.3f} bpp"
            fields = {"quality": quality, "model": codec.name, "bpp": round(bpp, 5)}
            return batch.Result(len(data), len(encoded), width, height, text, picture.notes, fields)

        return work

    return batch.run(out, "encode", plan, dry_run, start)
