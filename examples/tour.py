"""The Python API in a minute: pictures, files, tokens, latents in a training step, a DataLoader of tokens.

    python examples/tour.py [IMAGE]

Run it where vitcodec and torch are installed. It writes to a temporary folder only.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

import vitcodec


def tour(source: Path, folder: Path) -> None:
    """Show what each step makes of an image file."""
    codec = vitcodec.Codec.from_pretrained("swin", device="cpu")
    print(codec)

    # a Pillow image to a file and back
    image = Image.open(source).convert("RGB").crop((0, 0, 256, 192))
    raw = len(np.asarray(image).tobytes())
    for quality in (20, 50, 80):
        data = codec.encode(image, quality=quality, effort=1)
        picture = codec.decode(data)
        error = float(np.square(np.asarray(picture, dtype=float) - np.asarray(image)).mean())
        print(f"quality {quality}: {raw:,} -> {len(data):,} bytes, {10 * np.log10(255**2 / error):.1f} dB, {picture!r}")
    picture.save(folder / "again.png")

    # Pillow itself, once it is told
    vitcodec.register_opener()
    image.save(folder / "a.vitc", quality=50, effort=1)
    with Image.open(folder / "a.vitc") as opened:
        opened.thumbnail((64, 64))
        print("thumbnail:", opened.size)

    # batches: lists, arrays and tensors of four dimensions
    batch = torch.from_numpy(np.asarray(image)).permute(2, 0, 1)[None].repeat(2, 1, 1, 1) / 255
    files: list[bytes] = codec.encode(batch, quality=50, effort=1)
    print("batch:", [len(file) for file in files], "bytes")

    # tokens: exact integers, which make a picture or a file again
    tokens = codec.decompress(files[0])
    grid = tokens.to_grid()
    print("tokens:", grid.shape, f"{np.mean(grid == 0):.0%} zeros")
    assert codec.decode(codec.compress(tokens)) == codec.decode(files[0])
    flat = tokens.with_grid(np.where(np.arange(768)[:, None, None] < 12, grid, 0))
    print("without details:", codec.decode(io.BytesIO(codec.compress(flat))).size)

    # latents: a layer of a network, here one that learns to brighten
    brighten = torch.nn.Conv2d(768, 768, 1, bias=True)
    torch.nn.init.dirac_(brighten.weight)
    optimiser = torch.optim.Adam(brighten.parameters(), 1e-2)
    latents = codec.encode_latents(batch, quality=50)
    for step in range(3):
        shown = codec.decode_latents(brighten(latents), quality=50)
        loss = (shown - (batch + 0.1).clamp(0, 1)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        print(f"step {step}: loss {loss.item():.5f}")

    # tokens of many pictures, as a data set
    command = [sys.executable, "-m", "vitcodec", "tokens", str(folder / "a.vitc"), str(folder / "again.png")]
    subprocess.run([*command, "-o", str(folder / "shard-%03d.tar"), "--quiet"], check=True)
    loader = DataLoader(vitcodec.TokenDataset(folder / "shard-000.tar"), batch_size=2)
    for found in loader:
        print("from a DataLoader:", found["tokens"].dtype, tuple(found["tokens"].shape))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        tour(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "chelsea.png"), Path(name))
