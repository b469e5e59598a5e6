"""Make the network inside the package again: train, pack, directions, encoder, grid.

    python tests/packaged_network.py PACK RUN [IMAGES]

PACK is the folder with celeba64_20k.zip and labels.csv, RUN the run folder (resumed if it is
there), IMAGES how long to train (default 5M; what the run has reached is enough if it is more).
Today's network is a RUN of two legs, 300k images of --preset faces64 and from there
`--net RUN/network-000300.safetensors --dtype bf16 --seed 1 --images 450k`, each on one CPU core
(the second still with ADA over 500 kimg and EMA ramp-up, which --net has changed since).
$GANTOOLS_WEIGHTS names the folder with the MobileNetV2 features for the measures.
Everything is written to gantools/assets and tests/pictures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from gantools.faces.align import mean_landmarks
from gantools.faces.detect import Detector
from gantools.io import attribute_model, encoder, image, network, source

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "gantools" / "assets"
PICTURES = ROOT / "tests" / "pictures"
NAME = "faces64"
HOLD_OUT = 10
ENCODER_STEPS = 4500
DSE_STEPS = 12_000
# What labels.csv supports, under the names that edit shows, and how far --dir NAME alone goes:
# chosen by eye on sheets of tests/benchmarks/age_edit.py, where faces stay faces.
DIRECTIONS = {
    "age": ("age", 1.5),
    "smile": ("happy", 1.0),
    "male": ("male", 1.0),
    "yaw": ("yaw", 1.0),
    "pitch": ("pitch", 1.5),
    "mouth_open": ("mouth_open", 1.5),
    "brightness": ("brightness", 1.0),
    "saturation": ("saturation", 1.0),
}

# Those that features of block 5 hold a share of (tests/benchmarks/attribute_model.py).
# Name: steps.
MODELS = {
    "age": 3000,
    "smile": 1500,
    "yaw": 1500,
    "male": 1000,
    "pitch": 1000,
    "mouth_open": 1000,
}


def gantools(*argv: object) -> str:
    """Run one command and return its output."""
    words = [sys.executable, "-m", "gantools", *map(str, argv)]
    print("gantools", *argv, file=sys.stderr)
    run = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout


def newest(run: Path) -> Path:
    """The best network of the run, else its last."""
    best = run / "best.safetensors"
    return best if best.exists() else max(run.glob("network-*.safetensors"))


def half(value: np.ndarray) -> np.ndarray:
    """Half precision, which the 8 bits of a picture do not see."""
    return value.astype(np.float16)


def framing(pack: Path) -> dict[str, object]:
    """Mean landmarks of 500 training pictures: what --align auto aligns to."""
    samples = [s for s in source.samples([str(pack)]) if int(s.key.split("/")[-1]) % HOLD_OUT]
    chosen = np.random.default_rng(0).choice(len(samples), 500, replace=False)
    faces = (image.decode(samples[i].data) for i in sorted(chosen))
    return mean_landmarks(faces, Detector("cpu"))


def pack_network(run: Path, crop: dict[str, object]) -> Path:
    """g_ema and d in half precision, with what the package says about them."""
    ckpt = network.load(newest(run))
    kept = {n: half(t) for n, t in ckpt.tensors.items() if not n.startswith("g.")}
    meta = {n: v for n, v in ckpt.meta.items() if n != "id"}
    meta["crop"] = crop
    meta["licence"] = "weights for research use (trained on CelebA); see gantools/assets/LICENSE"
    target = ASSETS / f"{NAME}.safetensors"
    network.save(target, network.Checkpoint(ckpt.family, ckpt.config, kept, meta))
    return target


def fit_directions(pictures: Path, labels: Path, net: Path, reader: Path) -> None:
    """Every attribute that the labels support, in one run."""
    words: list[object] = []
    for name, (column, strength) in DIRECTIONS.items():
        words += ["--attribute", f"{name}={column}", "--default-strength", strength]
    words += ["--method", "gradient", "--net", net, "--hold-out", HOLD_OUT, "--reader", reader]
    words += ["-o", ASSETS / f"{NAME}.directions.safetensors"]
    gantools("train", "direction", pictures, "--labels", labels, "--samples", 2000, *words)


def train_models(net: Path, run: Path) -> None:
    """Attribute models of block 5, in half precision (20 minutes on one core)."""
    found = {}
    for name, steps in MODELS.items():
        made = run / f"{name}.attribute.safetensors"
        gantools("train", "attribute", "--dir", name, "--net", net, "--steps", steps, "-o", made)
        found |= attribute_model.read(made)
    attribute_model.write(ASSETS / f"{NAME}.attributes.safetensors", found, "float16")


def fit_encoder(pictures: Path, net: Path, folder: Path) -> None:
    """An encoder from block 5 on, in half precision (an hour on half a core)."""
    gantools("train", "encoder", pictures, "-o", folder, "--net", net, "--first", 5,
             "--width", 28, "--batch", 8, "--lr", 1e-3, "--perceptual", "discriminator",
             "--mirror", "--hold-out", HOLD_OUT, "--steps", ENCODER_STEPS)  # fmt: skip
    keep_encoder(folder, ASSETS / f"{NAME}{encoder.SUFFIX}")


def fit_dse(pictures: Path, net: Path, folder: Path) -> None:
    """Paper 004's encoder, whose w+ hybrid begins with (an hour and a half of a core).

    The prior keeps photographs' styles usual, from where the optimisation comes further.
    """
    gantools("train", "encoder", pictures, "-o", folder, "--net", net, "--arch", "dse",
             "--width", 64, "--latent-weight", 0.1, "--prior-weight", 0.3,
             "--mirror", "--hold-out", HOLD_OUT, "--steps", DSE_STEPS)  # fmt: skip
    keep_encoder(folder, ASSETS / f"{NAME}.dse{encoder.SUFFIX}")


def keep_encoder(run: Path, path: Path) -> None:
    """A run's encoder in half precision."""
    found = encoder.read(run)
    small = {n: half(t) for n, t in found.tensors.items()}
    encoder.write(path, replace(found, tensors=small))


def draw_and_measure(pictures: Path, net: Path, held_out: Path) -> None:
    """The uncurated grid of 64, and FID and KID against the held-out pictures."""
    gantools("generate", "--net", net, "--seeds", "0-63", "--grid", "8x8",
             "-o", PICTURES / f"{NAME}.png")  # fmt: skip
    held_out.mkdir(exist_ok=True)
    for sample in source.samples([str(pictures)]):
        if int(sample.key.split("/")[-1]) % HOLD_OUT == 0:
            (held_out / f"{Path(sample.key).name}.jpg").write_bytes(sample.data)
    figures: dict[str, object] = {}
    for metric in ("fid", "kid"):
        figures |= json.loads(gantools("metrics", metric, held_out, "--net", net, "--num", 2000,
                                       "--features", "mobilenet", "--json"))  # fmt: skip
    (PICTURES / f"{NAME}.json").write_text(json.dumps(figures, indent=1) + "\n")


def main() -> None:
    """The whole recipe."""
    pack, run = Path(sys.argv[1]), Path(sys.argv[2])
    pictures, labels = pack / "celeba64_20k.zip", pack / "labels.csv"
    if len(sys.argv) > 3 or not run.exists():
        images = sys.argv[3] if len(sys.argv) > 3 else "5M"
        gantools("train", "stylegan2", pictures, "-o", run, "--preset", NAME, "--images", images)
    PICTURES.mkdir(exist_ok=True)
    net = pack_network(run, framing(pictures))
    fit_directions(pictures, labels, net, run / "reader.safetensors")
    train_models(net, run)
    fit_encoder(pictures, net, run / "encoder")
    fit_dse(pictures, net, run / "dse")
    draw_and_measure(pictures, net, run / "held-out")


if __name__ == "__main__":
    main()
