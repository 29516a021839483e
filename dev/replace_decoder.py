"""Make a model folder of a shipped model with the decoder of a run of `train --decoder-only`.

    python dev/replace_decoder.py runs/decoder weights/swin-ssimulacra2 --start swin

Tokens, entropy model, tables, analysis and proposals stay as they are, to the bit: `vitcodec export` would round and
fit them anew. Filters are left out, as they are fitted to the squared error of another decoder. For models that are
tuned for something else than PSNR.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import cast

from vitcodec.adaptive_filter import no_filters
from vitcodec.engines.onnx import GRAPHS, open_graphs
from vitcodec.models.synthesis import ConvSynthesis
from vitcodec.pipeline.loading import ANALYSIS
from vitcodec.pretrained import integer_model, registry
from vitcodec.search.proposals import NETWORK
from vitcodec.training.assemble import write_folder
from vitcodec.training.integers import _write_float
from vitcodec.training.package import load_run
from vitcodec.training.rounding import RoundedSynthesis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", default=registry.DEFAULT_MODEL, help="the model that the run started from")
    arguments = parser.parse_args()
    run, start = load_run(arguments.run), registry.find(arguments.start)
    assert run.gauge is not None, "the run's decoder was not trained with its rounding"
    run.model.eval()
    synthesis = RoundedSynthesis(cast(ConvSynthesis, run.model.autoencoder.synthesis), run.gauge)
    whole = replace(
        integer_model.load(start.files[0], start.synthesis, start.context),
        synthesis=synthesis.export(),
        shape=synthesis.shape,
        filter=no_filters(),
    )
    config = replace(
        start, folder=arguments.folder, name=arguments.folder.name, tune=run.tune, training=run.training, metrics={}
    )
    graphs = open_graphs(start.folder / GRAPHS, start.graphs)
    write_folder(config, whole, graphs[ANALYSIS], graphs[NETWORK])
    _write_float(run.model, run.gauge, arguments.folder)
    print(f"{arguments.folder}: {run.origin}")


if __name__ == "__main__":
    main()
