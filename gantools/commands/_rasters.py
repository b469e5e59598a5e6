"""prefilter --zarr: whole pictures into a Zarr store, from which `train` takes crops (S2.23)."""

from __future__ import annotations

from gantools import report
from gantools.commands._ledger import Ledger, pictures
from gantools.faces.judge import Decision
from gantools.io.image import decode
from gantools.io.rasters import Writer
from gantools.io.sample import Sample
from gantools.report import SampleError


def store(
    operands: list[str] | None, shard: str | None, writer: Writer | None, ledger: Ledger
) -> None:
    """Every picture of the operands, one in memory at a time; none is written without a writer."""
    for sample in pictures(operands, shard):
        decision = sample if isinstance(sample, Decision) else _stored(sample, writer)
        ledger.add(decision.line())


def _stored(sample: Sample, writer: Writer | None) -> Decision:
    decision = Decision(sample.key, "accepted", path=sample.name)
    try:
        pixels = decode(sample.data)
        decision.size = (pixels.shape[1], pixels.shape[0])
        if writer is not None:
            writer.put(sample.key, pixels)
    except SampleError as e:
        report.failed(sample.name, e)
        decision.decision, decision.reason = "unreadable", str(e)
    return decision
