"""A network object of NVIDIA's TensorFlow pickles: its variables, settings and layouts (2b)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from gantools.io import stylegan2
from gantools.io.arrays import Arrays, number
from gantools.io.inert import Malformed, Record, short
from gantools.io.stylegan2 import Tensors

_DEEPEST = 4


def is_network(value: Any) -> bool:
    """Whether a record is a Network object of one of the dnnlib.tflib generations."""
    return (
        isinstance(value, Record)
        and isinstance(value.state, dict)
        and isinstance(value.state.get("variables"), list)
        and "static_kwargs" in value.state
    )


@dataclass(frozen=True, slots=True)
class Network:
    """What a Network object holds: numbers by TensorFlow's names, and settings.

    `what` names it in errors. A setting that is None counts as one that is not there.
    """

    what: str
    version: int
    variables: Tensors
    settings: dict[str, Any]

    @classmethod
    def of(cls, record: Record, arrays: Arrays, what: str) -> Network:
        """Read it. Malformed where it is damaged, or of an unknown version."""
        found = _variables(record, what)
        numbers = {name: arrays.array(v, f"{what}: {name[:80]}") for name, v in found.items()}
        return cls(what, _version(record), numbers, _settings(record))

    def count(self, name: str, default: int) -> int:
        """A setting that is a whole number."""
        value = self._setting(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 16:
            raise Malformed(f"its {name} is {short(value)}")
        return value

    def real(self, name: str, default: float) -> float:
        """A setting that is a number."""
        value = self._setting(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
            raise Malformed(f"its {name} is {short(value)}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """A setting that is yes or no."""
        value = self._setting(name, default)
        if value not in (True, False):
            raise Malformed(f"its {name} is {short(value)}")
        return bool(value)

    def taps(self, *names: str, default: list[float]) -> list[float]:
        """A row filter under the first of these names that is there; the default for none."""
        given = next((self.settings[n] for n in names if self.settings.get(n)), default)
        if not isinstance(given, (list, tuple)) or len(given) > 64:
            raise Malformed("its resampling filter is damaged")
        try:
            return stylegan2.taps(np.array([float(tap) for tap in given]))
        except (TypeError, ValueError):
            raise Malformed("its resampling filter is damaged") from None

    def _setting(self, name: str, default: Any) -> Any:
        value = self.settings.get(name)
        return default if value is None else value

    @property
    def lod(self) -> float:
        """The level of detail it was saved at: 0 where it was full-grown."""
        value = self.variables.get("lod", self.variables.get("synthesis/lod"))
        if value is None:
            return 0.0
        if value.shape != () or not 0 <= value < 16:
            raise Malformed(f"{self.what}: its lod is {str(value)[:20]}")
        return float(value)


def _version(network: Record) -> int:
    version = network.state.get("version")
    if not isinstance(version, int) or not 2 <= version <= 5:
        raise Malformed(f"a TensorFlow network of the unknown version {short(version)}")
    return version


def _settings(network: Record) -> dict[str, Any]:
    given = network.state["static_kwargs"]
    if not isinstance(given, dict):
        raise Malformed("a network without its settings")
    said = {key: number(value) for key, value in given.items()}
    if said.get("nonlinearity", "lrelu") != "lrelu":
        raise Malformed(f"its nonlinearity is {short(said['nonlinearity'])}; lrelu is read")
    return said


def _variables(network: Record, what: str) -> dict[str, Any]:
    """Names and records of a network and of its components (`mapping/…`, `synthesis/…`)."""
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def visit(value: Any, prefix: str, depth: int) -> None:
        if not is_network(value):
            raise Malformed(f"{what}: its component {prefix[:40]!r} is no network")
        if id(value) in seen or depth > _DEEPEST:
            raise Malformed(f"{what}: its components contain themselves")
        seen.add(id(value))
        for item in value.state["variables"]:
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise Malformed(f"{what}: a damaged list of variables")
            name, array = item
            if not isinstance(name, str) or prefix + name in found:
                raise Malformed(f"{what}: a damaged list of variables")
            found[prefix + name] = array
        components = value.state.get("components")
        for name, part in components.items() if isinstance(components, dict) else ():
            if not isinstance(name, str):
                raise Malformed(f"{what}: a component's name is {short(name)}")
            visit(part, f"{prefix}{name}/", depth + 1)

    visit(network, "", 0)
    return found


def kernel(value: np.ndarray, *, flipped: bool = False) -> np.ndarray:
    """[kh, kw, in, out] as [out, in, kh, kw]."""
    if value.ndim != 4:
        raise Malformed("a convolution's weight without four dimensions")
    if flipped:
        return np.ascontiguousarray(value[::-1, ::-1].transpose(3, 2, 0, 1))
    return value.transpose(3, 2, 0, 1)


def one(value: np.ndarray) -> np.ndarray:
    """Without the first dimension, which is 1."""
    if value.ndim < 2 or value.shape[0] != 1:
        raise Malformed("a constant of an impossible shape")
    return value[0]


def size_of(name: str) -> int:
    """16 of `16x16`; 0 of anything else."""
    match = re.fullmatch(r"(\d{1,5})x\1", name)
    return int(match[1]) if match else 0
