"""report.html of an encoder's run: its sheets over time, curves, configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gantools.training import report_html
from gantools.training.encoder_trainer import Training

CURVES = (
    ("PSNR of samples, of photographs held out", ("psnr", "psnr_held")),
    ("Loss", ("loss",)),
    ("Latents", ("latent",)),
    ("Features and styles", ("f", "w")),
    ("The picture so far", ("r",)),
    ("Mean square of pictures", ("mse", "mse_real")),
    ("Perceptual distance", ("perceptual", "perceptual_real")),
    ("1 - cosine, 1 - SSIM", ("cos", "ssim")),
    ("Divergence", ("kl",)),
    ("Prior of w", ("prior",)),
    ("Areas", ("at1", "at2")),
    ("1 - cosine of identities", ("identity",)),
    ("Distance from the mean w", ("norm",)),
    ("What the discriminator says, and its own loss", ("adv", "critic")),
)  # fmt: skip


def write(folder: Path, config: Training) -> None:
    """Make it from log.jsonl and samples/."""
    lines = report_html.read_log(folder / "log.jsonl")
    body = [
        f"<p>{_summary(lines[-1])}</p>",
        "<h2>Samples</h2><p>Uncurated, none of them trained on: rows of the network's own samples, "
        "of photographs where some are held out, and below each what the averaged encoder's "
        'latents render as.</p><div class="row">',
        *report_html.grids(folder / "samples", lines, "samples"),
        '</div><h2>Curves</h2><div class="row">',
        *(report_html.curve(title, lines, names) for title, names in CURVES),
        "</div><h2>Configuration</h2>",
        report_html.table(config.to_dict()),
    ]
    report_html.write_page(folder, body)


def _summary(last: dict[str, Any]) -> str:
    spent = report_html.taken(last["seconds"])
    return f"{last['step']:,} steps, {last['images']:,} images in {spent}"
