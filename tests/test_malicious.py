"""Hostile and broken files: one clear line or an inert reading; never a side effect, hang, flood.

fixtures/malicious holds files that ordinary loaders run (its manifest says which); the rest is
made here. formats.md 7.1 and 7.2.
"""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_writers import PERSISTENT, Called, dumped, nvidia, pretended, stylegan2_attributes

from gantools.io import foreign, network, pickles, tensorfile, torchfile
from gantools.io.arrays import Arrays, Storage
from gantools.io.inert import Budget, Global, Malformed, Record
from gantools.report import Usage

FIXTURES = Path(__file__).parent / "fixtures" / "malicious"
FILES = sorted(p.name for p in FIXTURES.iterdir() if p.suffix != ".json")
# What of them holds a whole generator beside the payload.
INERT = {"nv_os_system_reduce.pkl", "nv_builtins_eval.pkl", "nv_numpy_runstring.pkl"}
SYSTEM = b"cposix\nsystem\n(S'touch PWNED'\ntR"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of its own, in which no payload may leave its mark."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "PWNED").exists()


def test_the_payloads_are_live(scratch: Path) -> None:
    """The mark works: an ordinary unpickler runs what our reader must not."""
    pickle.loads(SYSTEM + b".")
    assert (scratch / "PWNED").exists()
    (scratch / "PWNED").unlink()


CONFINED = """
import json, resource, sys
from pathlib import Path
from gantools.io import network
from gantools.report import Usage
pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc").is_dir() else 0
limit = pages * resource.getpagesize() + 100_000_000
if pages:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
said = {}
for name in sys.argv[1:]:
    try:
        said[Path(name).name] = sorted(network.load(Path(name)).config["g"])
    except Usage as why:
        said[Path(name).name] = str(why)
print(json.dumps(said))
"""


def _confined(*files: Path) -> dict[str, Any]:
    """What reading each file says, in a process with 100 MB more than an idle one has."""
    root = str(Path(__file__).parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r})\n{CONFINED}"
    run = [sys.executable, "-c", code, *map(str, files)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_every_hostile_fixture_in_little_memory() -> None:
    """Issue 1: one clear line, or the weights, with at most 100 MB of address space more."""
    said = _confined(*(FIXTURES / name for name in FILES))
    assert set(said) == set(FILES)
    for name, what in said.items():
        if name in INERT:
            assert "resolution" in what
        else:
            assert what.startswith(f"{name}: "), what
            assert "\n" not in what
            assert "Error" not in what


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zip_bomb_200MB.pth", "compressed"),
        ("truncated_60pct.pkl", "cut short"),
        ("overlap.safetensors", "a and b overlap"),
        ("offset_beyond_file.safetensors", "beyond the end of the file"),
        ("header_longer_than_file.safetensors", "header of 1000000 bytes is longer than the file"),
        ("tf_build_module_src_payload.pkl", "variables are missing"),
        ("cyclic_modules.pkl", "no network"),
        ("rosinality_args_os_system.pt", "lacks the tensor"),
    ],
)
def test_the_line_says_what_is_wrong(name: str, words: str) -> None:
    """The reason, not a symptom."""
    with pytest.raises(Usage, match=words):
        network.load(FIXTURES / name)


# ----------------------------------------------------------------------------
# The machine: every way to name and call something.

CALLS = {
    "reduce": SYSTEM,
    "reduce, protocol 4": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0btouch PWNED\x85R",
    "inst": b"(S'touch PWNED'\niposix\nsystem\n",
    "obj": b"(cposix\nsystem\nS'touch PWNED'\no",
    "newobj": b"\x80\x02cposix\nsystem\nX\x0b\x00\x00\x00touch PWNED\x85\x81",
    "newobj_ex": b"\x80\x04cposix\nsystem\n\x8c\x0btouch PWNED\x85}\x92",
    "getattr": b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(S'os'\ntRS'system'\ntR)R",
    "build with setstate": SYSTEM + b"}S'__setstate__'\ncposix\nsystem\nsb",
    "reconstructor": b"ccopy_reg\n_reconstructor\n(cposix\nsystem\nc__builtin__\nobject\nNtR",
    "dotted": b"\x80\x04\x8c\x05numpy\x8c\x11os.path.os.system\x93\x8c\x0btouch PWNED\x85R",
    "numpy runs text": b"cnumpy.testing._private.utils\nrunstring\n(S'import os'\n}tR",
    "persistent": b"Pposix.system\n",
}


@pytest.mark.parametrize("stream", CALLS.values(), ids=CALLS)
def test_calls_become_records(stream: bytes) -> None:
    """formats.md 7.2: nothing is looked up, whatever the name; the rest of the file is read."""
    value, end = pickles.load(memoryview(b"(" + stream + b"I7\nt."), Budget.of(1000))
    assert value[1] == 7
    assert type(value[0]).__module__ == "gantools.io.inert"
    assert end == len(stream) + 6


def test_names_are_compared_whole() -> None:
    """formats.md 7.2: neither a prefix nor a submodule of a known name is known."""
    for module, name in [
        ("torch._utils._rebuild_tensor_v2", "x"),
        ("torch", "_utils._rebuild_tensor_v2"),
        ("collections.OrderedDict", "fromkeys"),
        ("numpy", "core.multiarray.scalar"),
    ]:
        stream = f"c{module}\n{name}\n)R.".encode()
        value, _ = pickles.load(memoryview(stream), Budget.of(1000))
        assert isinstance(value, Record)
        with pytest.raises(Malformed):
            Arrays(1000, _no_storage).array(value, "x")


BROKEN = {
    "extension 1": b"\x80\x02\x82\x01.",
    "extension 2": b"\x80\x02\x83\x01\x00.",
    "extension 4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "protocol 9": b"\x80\x09N.",
    "unknown operation": b"\xff.",
    "frame beyond the end": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
    "bytes beyond the end": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fab.",
    "negative bytes": b"\x80\x03B\xff\xff\xff\xff.",
    "long integer": b"\x80\x02\x8b\x00\x00\x00\x10" + bytes(64) + b".",
    "long text integer": b"L" + b"9" * 5000 + b"L\n.",
    "empty stack": b"t.",
    "no mark": b"e.",
    "memo unknown": b"h\x05.",
    "append to a number": b"I1\nI2\na.",
    "odd items": b"}(I1\nu.",
    "text is no text": b"X\x02\x00\x00\x00\xff\xfeI",
    "no end": b"(lp0\n",
    "line without end": b"S'abc",
    "quotes": b"Sabc\n.",
    "global without name": b"cabc\n.",
    "stack global of numbers": b"\x80\x04K\x01K\x02\x93.",
    "state of a number": b"I1\n}b.",
    "nothing": b"",
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
def test_broken_streams(stream: bytes, scratch: Path) -> None:
    """Each ends in Malformed for the machine, in one line for the reader."""
    with pytest.raises(Malformed):
        pickles.load(memoryview(stream), Budget.of(1000))
    (scratch / "x.pkl").write_bytes(stream)
    with pytest.raises(Usage, match=r"^x\.pkl: "):
        foreign.read(scratch / "x.pkl")


# ----------------------------------------------------------------------------
# Floods: small files that would unfold.


def _doubled(times: int, seed: bytes = b"X\x01\x00\x00\x00a") -> bytes:
    """A tuple of itself, `times` deep: 2^times leaves in `times` bytes."""
    return seed + b"2\x86" * times


FLOODS = {
    "empty lists": b"\x80\x02" + b"]" * 3_000_000 + b".",
    "marks": b"(" * 3_000_000,
    "nested lists": b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
    "nested tuples": b"\x80\x02)" + b"\x85" * 390_000 + b".",
    "doubled": b"\x80\x02" + _doubled(200) + b".",
    "doubled as a key": b"\x80\x02}" + _doubled(200) + b"K\x01s.",
    "doubled as a class name": b"\x80\x02}X\x05\x00\x00\x00G_emac" + b"\n".join(
        [PERSISTENT[0].encode(), PERSISTENT[1].encode(), b""]
    ) + b"}(X\x0a\x00\x00\x00class_name" + _doubled(200)
    + b"X\x05\x00\x00\x00state}X\x08\x00\x00\x00_modules}su\x85Rs.",
    "one mapping copied": b"\x80\x02}q\x00(" + b"".join(
        b"M" + struct.pack("<H", i) + b"N" for i in range(60_000)
    ) + b"u0" + b"ccollections\nOrderedDict\nh\x00\x85R0" * 5_000 + b"N.",
    "colliding keys": b"\x80\x02}(" + b"".join(
        b"\x8a\x0a" + ((2**61 - 1) * i + 7).to_bytes(10, "little") + b"N" for i in range(1, 60_000)
    ) + b"u.",
}  # fmt: skip


def test_floods_end_soon_and_small(scratch: Path) -> None:
    """Within 100 MB and 20 s of CPU for all of them: unbounded, each is hours or gigabytes."""
    for name, stream in FLOODS.items():
        (scratch / f"{name}.pkl").write_bytes(stream)
    said = _confined(*sorted(scratch.glob("*.pkl")))
    assert len(said) == len(FLOODS)
    for name, what in said.items():
        assert isinstance(what, str), name
        assert what.startswith(f"{name}: ")


# ----------------------------------------------------------------------------
# Tensors that claim more than they have.


def _no_storage(source: Any) -> Storage:
    raise Malformed("names no storage that is read")


def _tensor(offset: Any, size: Any, stride: Any) -> Record:
    return Record(("torch._utils", "_rebuild_tensor_v2"), ("s", offset, size, stride, False, {}))


@pytest.mark.parametrize(
    ("offset", "size", "stride", "words"),
    [
        (0, (10**9,), (1,), "claims 1000000000 elements over a storage of 12"),
        (0, (2**40, 2**40), (1, 1), "claims"),
        (0, (3, 4), (0, 1), "stride 0"),
        (0, (2, 2), (9, 9), "beyond its storage"),
        (9, (4,), (1,), "beyond its storage"),
        (-1, (4,), (1,), "impossible"),
        (0, (4,), (-1,), "impossible"),
        (0, (-4,), (1,), "impossible"),
        (0, (2.5,), (1,), "impossible"),
        (0, (True,), (1,), "impossible"),
        (2**70, (1,), (1,), "impossible"),
        (0, (1,) * 40, (1,) * 40, "too many dimensions"),
        (0, (4,), (1, 1), "differ in length"),
        (0, None, (1,), "damaged"),
        (None, (1,), (1,), "impossible"),
    ],
)
def test_tensors_are_checked_against_their_storage(
    offset: Any, size: Any, stride: Any, words: str
) -> None:
    """formats.md 7.1: torch would enlarge the storage; we refuse."""
    data = memoryview(np.arange(12, dtype=np.float32).tobytes())
    arrays = Arrays(10**12, lambda source: Storage("<f4", data))
    with pytest.raises(Malformed, match=words):
        arrays.array(_tensor(offset, size, stride), "t")


def test_one_storage_is_not_sold_many_times() -> None:
    """Views are free, but what a file claims together stays a few times its size."""
    data = memoryview(bytes(4_000_000))
    arrays = Arrays(len(data), lambda source: Storage("<f4", data))
    record = _tensor(0, (1_000_000,), (1,))
    for _ in range(4):
        arrays.array(record, "t")
    with pytest.raises(Malformed, match="more than the file holds"):
        arrays.array(record, "t")


NUMPY = ("numpy.core.multiarray", "_reconstruct")
DTYPE = ("numpy", "dtype")


@pytest.mark.parametrize(
    ("code", "shape", "data"),
    [
        ("O", (1,), b"12345678"),
        ("f4", (10**9,), b"1234"),
        ("f4", (1,), b"12345"),
        ("V8", (1,), b"12345678"),
        ("f4,f4", (1,), b"12345678"),
        ((("f4",),), (1,), b"1234"),
        ("f4", (1,), Global(("os", "system"))),
        ("f4", (1,), None),
    ],
)
def test_numpy_arrays_are_checked(code: Any, shape: Any, data: Any) -> None:
    """No object arrays, and as many bytes as the shape needs."""
    dtype = Record(DTYPE, (code, False, True), state=(3, "<", None, None, None, -1, -1, 0))
    record = Record(NUMPY, (), state=(1, shape, dtype, False, data))
    with pytest.raises(Malformed):
        Arrays(10**12, _no_storage).array(record, "t")


# ----------------------------------------------------------------------------
# Whole files around a good generator.


def _good(fixtures: Path) -> dict[str, torch.Tensor]:
    tensors = foreign.read(fixtures / "sg2ada_pt_r16_era.pkl").part("g_ema")
    return {n: torch.from_numpy(t.copy()) for n, t in tensors.items()}


class _Storage:
    """A tensor whose storage bytes are what we like."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        source = Called(torch.storage._load_from_bytes, self.data)
        return torch._utils._rebuild_tensor_v2, (source, 0, (16,), (1,), False, {})


def _nvidia_with(fixtures: Path, name: str, leaf: str, value: Any, path: Path) -> None:
    tensors = _good(fixtures)
    del tensors[f"{name}.{leaf}"]
    flags = stylegan2_attributes(tensors, 256)
    flags[name] = {**flags.get(name, {}), "_buffers": {leaf: value}}
    with pretended(PERSISTENT) as (rebuild,):
        path.write_bytes(dumped({"G_ema": nvidia(rebuild, tensors, flags)}))


def test_a_storage_that_is_itself_hostile(fixtures: Path, scratch: Path) -> None:
    """formats.md 2a: `_load_from_bytes` is the one entry that would run a second pickle."""
    legacy = torchfile.LEGACY_START + b"\x80\x02M\xe9\x03.}."
    for inner in (SYSTEM + b".", legacy + SYSTEM + b".].", b"PK\x03\x04junk", b"", bytes(100)):
        _nvidia_with(fixtures, "mapping", "w_avg", _Storage(inner), scratch / "x.pkl")
        with pytest.raises(Usage, match=r"x\.pkl: G_ema: mapping\.w_avg: "):
            foreign.read(scratch / "x.pkl")


def test_modules_that_contain_themselves(fixtures: Path, scratch: Path) -> None:
    """A cycle, and a diamond that would unfold 2^30 times, are refused; so is great depth."""
    with pretended(PERSISTENT) as (rebuild,):
        top: dict[str, Any] = {"_modules": {}}
        loop = Called(rebuild, {"class_name": "Generator", "state": top})
        top["_modules"]["synthesis"] = loop
        diamond: Any = None
        for i in range(30):
            state = {"_modules": {"a": diamond, "b": diamond}}
            diamond = Called(rebuild, {"class_name": f"M{i}", "state": state})
        for value in (loop, diamond):
            _cyclic(value, scratch / "x.pkl")
            with pytest.raises(Usage, match="contain themselves"):
                foreign.read(scratch / "x.pkl")


def _cyclic(value: Any, path: Path) -> None:
    # The standard pickler cannot close a loop through REDUCE; the memo can.
    try:
        path.write_bytes(dumped({"G_ema": value}))
    except RecursionError:
        head = (
            b"\x80\x04}\x8c\x05G_emactorch_utils.persistence\n_reconstruct_persistent_obj\n}q\x01"
        )
        state = b"(\x8c\x0aclass_name\x8c\x01G\x8c\x05state}\x8c\x08_modules}q\x02su\x85Rq\x03"
        path.write_bytes(head + state + b"h\x02\x8c\x09synthesish\x03s0s.")


def _torch_zip(path: Path, records: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in records.items():
            file.writestr(name, data)


def _storage_pickle(count: int) -> bytes:
    """{g_ema: {input.input: tensor [count] over storage 0}}."""
    head = b"\x80\x02}X\x05\x00\x00\x00g_ema}X\x0b\x00\x00\x00input.inputctorch._utils\n"
    pid = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    number = b"J" + struct.pack("<i", count)
    return (
        head
        + b"_rebuild_tensor_v2\n("
        + pid
        + number
        + b"tQK\x00"
        + number
        + b"\x85K\x01\x85\x89}tRss."
    )


def test_zip_archives(scratch: Path) -> None:
    """Compressed, overlapping, doubled, cut and lying archives; torch's own are stored."""
    path = scratch / "x.pt"
    good = {"a/data.pkl": _storage_pickle(4), "a/data/0": bytes(16)}
    _torch_zip(path, good, zipfile.ZIP_DEFLATED)
    _refused(path, "compressed")
    _torch_zip(path, {"a/readme": b"x"})
    _refused(path, "not one of torch.save")
    _torch_zip(path, {**good, "a/byteorder": b"big"})
    _refused(path, "big-endian")
    _torch_zip(path, {**good, "a/data.pkl": _storage_pickle(1_000_000_000)})
    _refused(path, "claims 1000000000 elements over 16 bytes")
    _torch_zip(path, {"a/data.pkl": _storage_pickle(4)})
    _refused(path, "lacks the storage '0'")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as file:
        for name, data in [*good.items(), ("a/data/0", bytes(16))]:
            file.writestr(name, data)
    _refused(path, "twice")
    _torch_zip(path, good)
    whole = path.read_bytes()
    (scratch / "cut.pt").write_bytes(whole[:-30])
    _refused(scratch / "cut.pt", "cut short")
    at = whole.rindex(b"PK\x05\x06")
    lying = whole[: at + 10] + struct.pack("<H", 60_000) + whole[at + 12 :]
    (scratch / "lying.pt").write_bytes(lying)
    _refused(scratch / "lying.pt", "impossible directory")


def test_overlapping_zip_records(scratch: Path) -> None:
    """One run of bytes sold under many names (formats.md 7.1)."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in {
            "a/data.pkl": _storage_pickle(4),
            "a/0": bytes(9),
            "a/1": b"1" * 9,
        }.items():
            file.writestr(name, data)
        file.infolist()[2].header_offset = file.infolist()[1].header_offset
        file.filelist[2].CRC = file.filelist[1].CRC
    (scratch / "x.pt").write_bytes(buffer.getvalue())
    _refused(scratch / "x.pt", "overlap")


def _refused(path: Path, words: str) -> None:
    with pytest.raises(Usage, match=words):
        foreign.read(path)


def test_huge_networks_that_are_not_there(scratch: Path) -> None:
    """What is made where a file keeps none (noise maps, mean w) is bounded as well."""
    g_ema = {
        f"style.1.{n}": t for n, t in {"weight": torch.ones(1, 4), "bias": torch.ones(1)}.items()
    }
    g_ema["input.input"] = torch.ones(1, 1, 4, 4)
    layer = {
        "conv.weight": torch.ones(1, 1, 1, 3, 3),
        "conv.modulation.weight": torch.ones(1, 1),
        "conv.modulation.bias": torch.ones(1),
        "noise.weight": torch.ones(1),
        "activate.bias": torch.ones(1),
    }
    rgb = {n: t for n, t in layer.items() if n.startswith("conv.mod")}
    rgb |= {"conv.weight": torch.ones(1, 3, 1, 1, 1), "bias": torch.ones(1, 3, 1, 1)}
    g_ema |= {f"conv1.{n}": t for n, t in layer.items()}
    g_ema |= {f"to_rgb1.{n}": t for n, t in rgb.items()}
    for i in range(12):
        g_ema |= {f"convs.{2 * i + j}.{n}": t for n, t in layer.items() for j in (0, 1)}
        g_ema |= {f"to_rgbs.{i}.{n}": t for n, t in rgb.items()}
    torch.save({"g_ema": g_ema}, scratch / "x.pt")
    _refused(scratch / "x.pt", "without noise maps")
    for name in ("style.1.weight", "noises.noise_" + "9" * 50, "convs." + "7" * 6000 + ".x"):
        torch.save({"g_ema": {**g_ema, name: torch.ones(1, 1)}}, scratch / "x.pt")
        with pytest.raises(Usage):
            foreign.read(scratch / "x.pt")


def test_control_characters_do_not_reach_the_terminal(fixtures: Path, scratch: Path) -> None:
    """Text of a file is cleaned before it is shown: no escape sequences, no lone surrogates."""
    tensors = _good(fixtures)
    with pretended(PERSISTENT) as (rebuild,):
        g = nvidia(rebuild, tensors, stylegan2_attributes(tensors, 256))
        file = {"G_ema": g, "training_set_kwargs": {"path": "a/\x1b[31mred\udc80.zip"}}
        data = pickle._dumps(file, 2)  # type: ignore[attr-defined]
    (scratch / "x.pkl").write_bytes(data)
    found = foreign.read(scratch / "x.pkl")
    assert found.meta["trained_on"].encode("utf-8")
    network.save(scratch / "y.safetensors", found)
    assert network.load(scratch / "y.safetensors").meta["trained_on"] == found.meta["trained_on"]


# ----------------------------------------------------------------------------
# Files that are no files, and safetensors.


def test_what_is_no_file(scratch: Path) -> None:
    """Empty, missing, a folder, a device, a picture, text."""
    (scratch / "empty.pkl").write_bytes(b"")
    (scratch / "text.pkl").write_text("hello\n")
    (scratch / "folder").mkdir()
    for name in ("empty.pkl", "text.pkl", "folder", "missing.pkl"):
        with pytest.raises(Usage, match=name):
            network.load(scratch / name)
    assert foreign.kind(scratch / "text.pkl") is None
    assert foreign.kind(FIXTURES / "nv_builtins_eval.pkl") == "pickle"
    assert foreign.kind(FIXTURES / "zip_bomb_200MB.pth") == "torch-zip"
    with pytest.raises(Usage):
        foreign.read(Path("/dev/null"))


def _safetensors(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _entry(start: Any, end: Any, shape: Any = (2,), kind: Any = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("header", "size", "words"),
    [
        ({"a": _entry(0, 8), "b": _entry(4, 12)}, 12, "overlap"),
        ({"a": _entry(0, 8)}, 12, "unused"),
        ({"a": _entry(0, 8), "b": _entry(12, 20)}, 20, "unused"),
        ({"a": _entry(0, 8)}, 4, "beyond the end"),
        ({"a": _entry(0, 8, (3,))}, 8, "as its shape needs"),
        ({"a": _entry(0, 8, (10**9, 10**9))}, 8, "as its shape needs"),
        ({"a": _entry(8, 0)}, 8, "not read"),
        ({"a": _entry(-8, 0)}, 8, "impossible"),
        ({"a": _entry(0, 8.0)}, 8, "impossible"),
        ({"a": _entry(0, 8, (2,), "F99")}, 8, "not read"),
        ({"a": _entry(0, 8, (2,), ["F32"])}, 8, "not read"),
        ({"a": 3}, 8, "not described"),
        ({"a": {"dtype": "F32"}}, 8, "not described"),
        (b'{"a":1,"a":2}', 0, "twice"),
        (b"{" + b'"a":{' * 20_000, 0, "no JSON"),
        (b"{nonsense", 0, "no JSON"),
        ({"__metadata__": [1]}, 0, "metadata"),
    ],
)
def test_damaged_safetensors(header: Any, size: int, words: str, scratch: Path) -> None:
    """Issue 1: each refused in one line before a byte is used."""
    (scratch / "x.safetensors").write_bytes(_safetensors(header, bytes(size)))
    assert tensorfile.looks_like(scratch / "x.safetensors")
    with pytest.raises(Usage, match=words):
        tensorfile.read(scratch / "x.safetensors")


def test_safetensors_of_others_are_no_networks(scratch: Path) -> None:
    """A good file without our header, or of another kind, is said to be that."""
    for story, words in (({}, "not a network"), ({"kind": "direction"}, "a direction file")):
        tensorfile.write(scratch / "x.safetensors", {"a": np.ones(2)}, story)
        with pytest.raises(Usage, match=words):
            network.load(scratch / "x.safetensors")
