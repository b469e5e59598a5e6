"""Do features follow a direction? Attribute models against styles alone and against w+ (S2.9).

    GANTOOLS_WEIGHTS=W python tests/benchmarks/attribute_model.py MODELS READER [COUNT] [SHEET]

MODELS is a file of `train attribute`, READER the attribute network of `train direction --reader`,
W may hold face-api's age network (faceapi/). COUNT generated faces (50, psi 0.7) are edited
at each direction's default strength: all of w+, the styles alone in the model's space, and by the
model there. A tab-separated table, means over the faces with a 95 % interval: what the reader
(and face-api, of age) sees change, its share of what w+ does, how far the picture is from w+'s and
from the one before (perceptual distance of the discriminator), and how much the reader's other
labels change (mean of absolute values, in deviations of each). SHEET: a prefix for sheets of the
first eight faces, rows before, styles alone, model, w+.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from gantools.evaluation import attributes, faceapi
from gantools.inversion.distances import embedding
from gantools.inversion.perceptual import distance
from gantools.inversion.project import to_tensor
from gantools.io import attribute_model, image, source
from gantools.io.attribute_model import AttributeModel
from gantools.networks.network import Network, open_network

COLUMN = {"smile": "happy"}  # the reader's name of a label where it is another
FIRST_SEED = 5000
SHOWN = 8
Faces = dict[str, np.ndarray]  # uint8 [N, H, W, 3] by how they were made


def gantools(*argv: object) -> None:
    """Run one command."""
    subprocess.run([sys.executable, "-m", "gantools", *map(str, argv)], check=True)


def pictures(folder: Path) -> np.ndarray:
    """uint8 [N, H, W, 3] of a folder, in the order of keys."""
    return np.stack([image.decode(s.data) for s in source.samples([str(folder)])])


def faces(models: Path, model: AttributeModel, count: int) -> Faces:
    """The faces before and after each kind of edit."""
    direction, i = f"{models}:{model.direction.name}", model.first
    layers = f"{i - 1}-{len(np.atleast_2d(model.direction.vector)) - 1}"
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        seeds = f"{FIRST_SEED}-{FIRST_SEED + count - 1}"
        gantools("generate", "--seeds", seeds, "--psi", 0.7, "--space", "w", "-o", f"{root}/w/")
        gantools("project", root / "w", "--space", f"fnw+{i}", "-o", f"{root}/f/")
        gantools("generate", root / "f", "-o", f"{root}/before/")
        gantools("edit", root / "w", "--dir", direction, "-o", f"{root}/w+/{{}}.png")
        edit = ("edit", root / "f", "--dir", direction)
        gantools(*edit, "--layers", layers, "-o", f"{root}/styles/{{}}.png")
        gantools(*edit, "-o", f"{root}/model/{{}}.png")
        return {name: pictures(root / name) for name in ("before", "styles", "model", "w+")}


def interval(values: np.ndarray) -> str:
    """`mean ± 1.96 standard errors`."""
    return f"{values.mean():.4g} ± {1.96 * values.std(ddof=1) / len(values) ** 0.5:.2g}"


def measured(name: str, found: Faces, reader: attributes.Reader, network: Network) -> None:
    """Print the rows of one direction."""
    column = reader.columns.index(COLUMN.get(name, name))
    sd = reader.sd.numpy()
    tensors = {how: to_tensor(list(pixels), network) for how, pixels in found.items()}
    labels = {how: reader.read(x).numpy() / sd for how, x in tensors.items()}
    embed = embedding("discriminator", network)
    folder = os.environ.get("GANTOOLS_WEIGHTS")
    weights = faceapi.load(Path(folder)) if folder and name == "age" else None
    full = labels["w+"] - labels["before"]
    before = faceapi.age_and_male(found["before"], weights)[0] if weights else None
    for how in ("styles", "model", "w+"):
        change = labels[how] - labels["before"]
        others = np.abs(np.delete(change, column, axis=1)).mean(axis=1)
        with torch.no_grad():
            x = embed(tensors[how])
            far = {to: distance(x, embed(tensors[to])).numpy() for to in ("w+", "before")}
        cells = [name, how, interval(change[:, column])]
        cells += [f"{change[:, column].mean() / full[:, column].mean():.3f}"]
        cells += [interval(far["w+"]), interval(far["before"]), interval(others)]
        if before is not None:
            cells.append(interval(faceapi.age_and_male(found[how], weights)[0] - before))
        print("\t".join(cells), flush=True)


def main() -> None:
    """Every model of the file."""
    models, path = Path(sys.argv[1]), Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 50
    reader = attributes.load(path)[0]
    network = open_network(discriminator=True)
    print("direction\tedit\tchange in sd\tshare of w+\tto w+\tto before\tothers in sd\tyears")
    for name, model in attribute_model.read(models).items():
        found = faces(models, model, count)
        measured(name, found, reader, network)
        if len(sys.argv) > 4:
            rows = [np.concatenate(list(pixels[:SHOWN]), axis=1) for pixels in found.values()]
            Path(f"{sys.argv[4]}{name}.png").write_bytes(image.encode(np.concatenate(rows)))


if __name__ == "__main__":
    main()
