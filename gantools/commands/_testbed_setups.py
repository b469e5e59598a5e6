"""From the testbeds' flags to their beds, and from their courses to tables and figures."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gantools import __version__, options
from gantools.commands._testbeds import Asked, Preset, Settings, wanted, words
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.spectra.testbed import Bed

GENERATOR = {
    Preset.paper: Settings(64, 8, 10, 100_000, 1000, 1e-3),
    Preset.small: Settings(32, 16, 4, 1000, 50, 1e-3),
}
DISCRIMINATOR = {
    Preset.paper: Settings(64, 8, 10, 100_000, 1000, 1e-3),
    Preset.small: Settings(16, 32, 4, 3000, 100, 1e-3),
}
TENSOR_LR = 0.01


def generator(asked: Asked, upsample: str, losses: Sequence[bool]) -> None:
    """`spectrum testbed generator`: every upsampling, loss and number of pictures."""
    from gantools.ops.resample import UPSAMPLINGS
    from gantools.spectra import published
    from gantools.spectra.generator_testbed import GeneratorBed, GeneratorSetup
    from gantools.spectra.testbed import Shape

    preset = GENERATOR[asked.preset]
    settings = asked.settings(preset)
    upsamplings = words(upsample, "--upsample", UPSAMPLINGS)
    setups = [
        GeneratorSetup(up, spectral, num)
        for num in asked.numbers(preset)
        for spectral in losses
        for up in upsamplings
    ]
    lab = _Lab(asked, settings, {"--padding": asked.padding})
    shape = Shape(settings.size, settings.divisor, asked.padding)
    beds = [
        GeneratorBed(setup, lab.targets, shape, lr=settings.lr, seed=asked.seed) for setup in setups
    ]
    lab.run(beds, published.GENERATOR, columns=len(upsamplings))


def discriminator(
    asked: Asked,
    spatial: str,
    extra: str,
    *,
    tensor_lr: float | None,
    mlp_width: int | None,
    matched: bool,
) -> None:
    """`spectrum testbed discriminator`: every discriminator, addition and number of pictures."""
    from gantools.spectra import published
    from gantools.spectra.discriminator_testbed import (
        EXTRA,
        MLP_WIDTH,
        SPATIAL,
        DiscriminatorBed,
        DiscriminatorSetup,
    )
    from gantools.spectra.testbed import Shape

    preset = DISCRIMINATOR[asked.preset]
    settings = asked.settings(preset)
    kinds = words(spatial, "--discriminator", SPATIAL)
    extras = words(extra, "--with", EXTRA)
    if matched and not {"sd", "sd-cnn-ft"} & set(extras):
        raise Usage("--match-params widens sd and sd-cnn-ft, and --with names neither")
    if mlp_width is not None and "mlp" not in kinds:
        raise Usage("--mlp-width is for the discriminator mlp, which is not named")
    rate = TENSOR_LR if tensor_lr is None else tensor_lr
    if rate <= 0:
        raise Usage(f"--tensor-lr {rate:g}: a number above 0 is needed")
    setups = [
        DiscriminatorSetup(kind, extra, num, mlp_width or MLP_WIDTH, matched)
        for num in asked.numbers(preset)
        for extra in extras
        for kind in kinds
        if kind != "none" or extra in ("sd", "sd-ft", "sd-cnn-ft")
    ]
    if not setups:
        raise Usage("--discriminator none: it goes with sd, sd-ft or sd-cnn-ft of --with")
    flags = {"--tensor-lr": rate, "--match-params": matched}
    lab = _Lab(asked, settings, {**flags, "--mlp-width": mlp_width or MLP_WIDTH})
    shape = Shape(settings.size, settings.divisor)
    beds = [
        DiscriminatorBed(setup, lab.targets, shape, lr=settings.lr, tensor_lr=rate, seed=asked.seed)
        for setup in setups
    ]
    lab.run(beds, published.DISCRIMINATOR, columns=len(kinds))


class _Lab:
    """One call of a testbed: its pictures, its run, what is told of it."""

    def __init__(self, asked: Asked, settings: Settings, flags: Mapping[str, Any]) -> None:
        import torch

        self.asked, self.settings = asked, settings
        self.folder, self.files = asked.folder(), asked.files()
        options.set_threads(asked.threads)
        device = options.pick_device(asked.device)
        if device.startswith("cuda"):
            # Errors of a part of an 8-bit level are what is measured here.
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        found = wanted(asked, settings.size, settings.num)
        self.story = found.story
        pixels = torch.from_numpy(found.pixels).permute(0, 3, 1, 2).float().contiguous()
        self.targets = (pixels / 127.5 - 1).to(device)
        self.config: dict[str, Any] = {
            "the pictures": self.story["sha256"], "--size": settings.size,
            "--divisor": settings.divisor, "--lr": settings.lr, "--seed": asked.seed,
            "--every": settings.every, **flags,
        }  # fmt: skip

    def run(
        self, beds: Sequence[Bed], paper: Mapping[str, Mapping[str, float]], *, columns: int
    ) -> None:
        """Train, then write table and figures."""
        from gantools.io import atomic, results
        from gantools.ops.spectrum import frequencies
        from gantools.spectra import testbed_folder
        from gantools.spectra import testbed_results as tell
        from gantools.spectra.testbed_run import Job, train

        config = {"the configurations": [bed.name for bed in beds], **self.config}
        job = Job(self.folder, self.settings.steps, self.settings.every, config)
        courses = train(beds, job)
        entries = [tell.entry(*pair, paper) for pair in zip(beds, courses, strict=True)]
        at = frequencies(self.settings.size, self.settings.size)

        def plot(kind: str) -> bytes:
            return tell.evolution(entries, at, columns, kind)

        protocol = self._protocol()
        table = {"configurations": entries, "frequency": at.tolist(), "protocol": protocol}
        lines, heads = tell.lines(entries)
        rows = [heads, *lines, *results.flat({"protocol": protocol})]
        if self.folder is not None:
            made = {
                "results.json": results.as_object(table).encode(),
                "evolution.png": plot("png"),
                "psnr.png": tell.curves(entries),
                "pictures.png": tell.sheet(self.targets, beds),
            }
            for name, data in made.items():
                atomic.write_bytes(self.folder / name, data)
            testbed_folder.save(self.folder, beds)
        shown = self.files or ["-"]
        if shown == ["-"] and sys.stdout.isatty() and not self.asked.json:
            results.write(table, shown, rows=lines, columns=heads)
        else:
            results.write(table, shown, rows=rows, plot=plot, as_json=self.asked.json)

    def _protocol(self) -> dict[str, Any]:
        flags = {name.lstrip("-"): v for name, v in self.config.items() if name.startswith("--")}
        story = {**self.story, **asdict(self.settings), **flags}
        story["psnr"] = "8 bits truncated, mean over pictures, 100 dB where exact"
        return {**story, "version": f"gantools {__version__}"}
