"""What edit and mix share: latents in, latents or pictures out, and what is known without torch."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import options, report
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.latent import Latent
    from gantools.io.sink import Sink
    from gantools.networks.network import Network

    Finish = Callable[[Latent, np.ndarray], np.ndarray]


def read(operands: Sequence[str] | None, shard: str | None = None) -> Iterator[Latent]:
    """The latents of the operands, or of standard input; a bad one is reported and skipped."""
    from gantools.io.latent import Latent
    from gantools.io.source import samples

    for sample in samples(operands, kinds=("latent",), shard=shard):
        try:
            latent = Latent.from_bytes(sample.data, sample.key)
        except SampleError as e:
            report.failed(sample.name, e)
            continue
        yield latent


def parse_layers(text: str | None) -> list[int] | None:
    """--layers, sorted, before a network or a latent says how many there are."""
    if text is None:
        return None
    if re.search(r"\d{5}", text):  # a list this long would be made before it is refused
        raise Usage(f"--layers {text}: no network has so many layers")
    return sorted(set(options.parse_ranges(text, "--layers")))


class NetworkFile:
    """The file of --net as far as it is known without torch: its header and its layers.

    named: whether --net or $GANTOOLS_NET names it. Usage where that is no network.
    """

    def __init__(self, net: str | None) -> None:
        from gantools.io import network

        self.named = bool(net or os.environ.get("GANTOOLS_NET"))
        self.path: Path | None = None
        try:
            self.path = network.find(net)
        except Usage:
            if self.named:  # else latents can be edited where no network is
                raise
        self.header: dict[str, Any] = network.header(self.path) if self.path else {}
        if self.header.get("kind") != "network":
            self.header = {}
        if self.named:
            self.meta()

    def check(self, latent: Latent) -> None:
        """SampleError where the network that was named is not the latent's."""
        if not self.named or self.path is None or self.fits(latent):
            return
        theirs = latent.header.get("network") or {}
        raise SampleError(
            f"a latent of network {theirs.get('name')} ({str(theirs.get('id'))[:12]}), not of "
            f"{self.path.stem} ({str(self.meta().get('id'))[:12]}); give its own with --net"
        )

    def fits(self, latent: Latent) -> bool:
        """Whether the latent may be of this network, by its header."""
        from gantools.io.network import fits

        return fits(latent.header.get("network") or {}, self.meta())

    def num_ws(self, latent: Latent) -> int | None:
        """L of the network, where the latent may be its own; None where it is not known."""
        meta = self.meta()
        config = meta.get("config", {}).get("g")
        if config is None or not self.fits(latent):
            return None
        if "w_dim" not in config:  # PGGAN, SNGAN: z alone
            return None
        if "widths" in config:  # StyleGAN and StyleGAN2: two per resolution
            return 2 * len(config["widths"])
        return int(config["num_layers"]) + 2 if "num_layers" in config else None

    def meta(self) -> dict[str, Any]:
        """The header, or what stands for it in another project's file, which is read, once."""
        if not self.header and self.path is not None:
            from gantools.io import network

            checkpoint = network.load(self.path)
            self.header = {**checkpoint.meta, "config": checkpoint.config}
        return self.header


@dataclass
class Opened:
    """The network of --net, opened when something needs it."""

    net: str | None
    device: str
    threads: int

    @cached_property
    def network(self) -> Network:
        """The network, in fp32; Usage where it is none."""
        from gantools.networks.network import open_network

        options.set_threads(self.threads)
        return open_network(self.net, device=options.pick_device(self.device))


def meet(network: Network, latents: Sequence[Latent], needs: str) -> list[Latent]:
    """Each in the smallest space, not of z, where all of them keep their pictures.

    needs: what its name must hold, as in spaces.meeting; SampleError where there is none.
    """
    from gantools.latents import spaces
    from gantools.latents.source import NetworkSource

    for latent in latents:
        network.check(latent)
    space = spaces.meeting([x.space for x in latents], int(network.g.num_ws), needs)
    source = NetworkSource(network)
    return [spaces.convert(latent, space, source) for latent in latents]


def write(
    sink: Sink,
    latents: Iterable[Latent],
    *,
    net: str | None,
    batch: int,
    device: str,
    dtype: str,
    threads: int,
    finish: Finish | None = None,
) -> None:
    """Latents as they are, or rendered where the output is images; torch only for these.

    finish: what is done to each picture before it is written. What --no-clobber keeps is not
    rendered, and the network is opened when the first picture is wanted.
    """
    wanted = (latent for latent in latents if sink.wanted(latent.key))
    if sink.kind == "latent":
        for latent in wanted:
            _put(latent.key, partial(sink.put, latent.key, latent.to_bytes()))
        return
    for latent, pixels in _rendered(wanted, net, batch, device, dtype, threads):
        try:
            finished = finish(latent, pixels) if finish else pixels
        except SampleError as e:
            report.failed(latent.key, e)
            continue
        _put(latent.key, partial(sink.put_frame, latent.key, finished, latent.story()))


def _rendered(
    latents: Iterator[Latent], net: str | None, batch: int, device: str, dtype: str, threads: int
) -> Iterator[tuple[Latent, np.ndarray]]:
    first = next(latents, None)
    if first is None:
        return
    from gantools.latents.pictures import Cell, Look, Picture, rendered
    from gantools.networks.network import open_network
    from gantools.options import pick_device, set_threads

    set_threads(threads)
    network = open_network(net, device=pick_device(device), dtype=dtype)
    everything = chain([first], latents)
    pictures = (Picture(latent.key, [Cell(latent, Look())]) for latent in everything)
    for picture in rendered(network, pictures, batch):
        pixels = picture.pixels()
        if pixels is not None and picture.cells[0] is not None:
            yield picture.cells[0].latent, pixels


def _put(key: str, put: Callable[[], None]) -> None:
    try:
        put()
    except SampleError as e:
        report.failed(key, e)
