"""`vitcodec ray encode`, `decode` and `eval`: the commands of these names, with their options, over a cluster."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..cluster.pool import Cluster
from ..errors import UsageError
from . import places
from .decode import decode_command
from .encode import encode_command
from .eval import eval_command
from .layout import CLUSTER, FILES, MODEL, new_app
from .on_ray import OnRay
from .output import Output
from .resuming import Kept

app = new_app(help="encode, decode and eval over a cluster, by Ray Data: pip install 'vitcodec[ray]'.")

Address = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="RAY_ADDRESS",
        metavar="ADDRESS",
        rich_help_panel=CLUSTER,
        help="local: start Ray on this machine, for this command; auto: the cluster that it is in; or HOST:PORT.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        show_default=False,
        rich_help_panel=CLUSTER,
        help="Processes. [default: as many as there is room for]",
    ),
]
Cpus = Annotated[
    float, typer.Option("--cpus-per-worker", min=0, metavar="N", rich_help_panel=CLUSTER, help="And so many threads.")
]
Gpus = Annotated[
    float,
    typer.Option("--gpus-per-worker", min=0, metavar="N", rich_help_panel=CLUSTER, help="0.5: two workers share one."),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="PATH",
        show_default=False,
        rich_help_panel=FILES,
        help="Keep results in this file as they come, and measure only what is not in it.",
    ),
]
ADDED = {"address": (Address, "local"), "workers": (Workers, None), "cpus": (Cpus, 1.0), "gpus": (Gpus, 0.0)}
# what is said of them differs
CHANGED = {
    "inputs": Annotated[
        list[str], typer.Argument(metavar="INPUT...", show_default=False, help="Files, folders, globs or URLs.")
    ],
    "output": Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            show_default=False,
            rich_help_panel=FILES,
            help="A file for one input, a folder for several, or the URL of one. [default: beside the input]",
        ),
    ],
    "threads": Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            metavar="N",
            show_default=False,
            rich_help_panel=MODEL,
            help="CPU threads of a worker. [default: its CPUs]",
        ),
    ],
}
# what is of one process: files are read ahead by more workers
_WITHOUT = ("jobs",)
# options of eval that its results do not depend on
_REPORTS = {
    *("inputs", "against", "anchor", "recursive", "csv", "markdown", "html", "pictures", "overwrite", "strict"),
    *("json", "quiet", "verbose", "threads"),
}


def _on_cluster(name: str, command: Callable[..., int], **more: tuple[Any, Any]) -> None:
    """Register a command with the options of a cluster besides its own. more: further ones, type and default."""
    own = inspect.signature(command, eval_str=True)
    added = ADDED | more

    @functools.wraps(command)
    def on_cluster(**options: Any) -> int:
        address, workers, cpus, gpus = (options.pop(option) for option in ADDED)
        resume = options.pop("resume", None)
        out = Output(options["json"], options["quiet"], options["verbose"])
        cluster = Cluster(address, workers, cpus, gpus)
        options["threads"] = options["threads"] or max(1, int(cpus))
        kept = None
        if resume is not None:
            if resume.suffix.lower() in (".png", ".jpg", ".vitc"):
                raise UsageError(f"{resume}: would be results as text; give --resume a name such as results.jsonl")
            matters = {key: value for key, value in options.items() if key not in _REPORTS}
            kept = Kept(resume, {"version": __version__, **matters})
        with places.working_at(OnRay(cluster, out, kept)):
            return command(**options)

    keyword = inspect.Parameter.KEYWORD_ONLY
    kept = [
        p.replace(kind=keyword, annotation=CHANGED.get(p.name, p.annotation))
        for p in own.parameters.values()
        if p.name not in _WITHOUT
    ]
    kept += [inspect.Parameter(n, keyword, default=default, annotation=kind) for n, (kind, default) in added.items()]
    on_cluster.__signature__ = own.replace(parameters=kept)  # type: ignore[attr-defined]
    on_cluster.__annotations__ = {p.name: p.annotation for p in kept}
    on_cluster.__doc__ = DOCS[name]
    del on_cluster.__wrapped__  # type: ignore[attr-defined]
    app.command(name, short_help=DOCS[name].partition("\n")[0])(on_cluster)


DOCS = {
    "encode": """Images to .vitc files, by the workers of a cluster: vitcodec encode, and its options.

    Inputs and outputs are paths that every machine of the cluster has, or URLs: s3://, gs://, hf://, ...

    \b
    vitcodec ray encode photos/ -r -o small/ --workers 2
    vitcodec ray encode s3://bucket/photos/ -r -o s3://bucket/small/ --skip-existing --address auto
    """,
    "decode": """.vitc files back to images, by the workers of a cluster: vitcodec decode, and its options.

    \b
    vitcodec ray decode small/ -r -o back/ --workers 2
    vitcodec ray decode s3://bucket/small/ -r -o s3://bucket/back/ --skip-existing --address auto
    """,
    "eval": """Rate and quality of images, measured by the workers of a cluster: vitcodec eval, and its options.

    Times are of workers that share their machines. Means are over all images.

    \b
    vitcodec ray eval photos/ -r --workers 2
    vitcodec ray eval s3://bucket/photos/ -r --csv all.csv --resume all.jsonl --address auto
    """,
}
_on_cluster("encode", encode_command)
_on_cluster("decode", decode_command)
_on_cluster("eval", eval_command, resume=(Resume, None))
