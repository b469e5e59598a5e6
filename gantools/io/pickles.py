"""A pickle parser that can run nothing: the stream becomes plain containers and inert records.

Python's own unpickler imports what a file names and calls it. This one only builds a tree of
`inert` values. Bytes are views of the given buffer, so a file of gigabytes costs only its small
objects, and the number of operations is bounded by the size of the file.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from gantools.io.inert import MAPPINGS, Budget, Global, Malformed, OddKey, Pair, Persistent, Record

# Python-2 strings longer than this are weights: kept as views, not decoded.
_TEXT = 1024
_LONG_BYTES = 1024
_KEY_LIMIT = 1 << 60  # integers below have no manufactured hash collisions

_RECONSTRUCTORS = {("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")}
_SET: Pair = ("builtins", "set")


def load(data: memoryview, budget: Budget, start: int = 0) -> tuple[Any, int]:
    """The value of the pickle that begins at `start`, and the position after its end.

    Raises Malformed for anything that is not a whole pickle of protocol 0 to 5, for operations
    of the extension registry and for out-of-band buffers.
    """
    return _Machine(data, budget, start).run()


class _Machine:
    def __init__(self, data: memoryview, budget: Budget, start: int) -> None:
        self.data, self.pos, self.budget = data, start, budget
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> tuple[Any, int]:
        data, size, budget = self.data, len(self.data), self.budget
        try:
            while self.pos < size:
                code = data[self.pos]
                self.pos += 1
                budget.spend(1)
                if code == 0x2E:  # STOP
                    return self.stack.pop(), self.pos
                action = _ACTIONS.get(code)
                if action is None:
                    raise Malformed(f"operation 0x{code:02x} is not read")
                action(self)
        except Malformed as why:
            raise Malformed(f"damaged or hostile pickle at byte {self.pos}: {why}") from None
        except (IndexError, KeyError, ValueError, TypeError, AttributeError, struct.error):
            raise Malformed(f"damaged pickle at byte {self.pos}") from None
        raise Malformed("the pickle is cut short")

    # Bytes

    def take(self, count: int) -> memoryview:
        end = self.pos + count
        if count < 0 or end > len(self.data):
            raise Malformed("the data is cut short")
        view = self.data[self.pos : end]
        self.pos = end
        return view

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        start = at = self.pos
        while at < len(self.data):
            found = bytes(self.data[at : at + 4096]).find(b"\n")
            if found >= 0:
                self.pos = at + found + 1
                return bytes(self.data[start : at + found])
            at += 4096
        raise Malformed("a line has no end")

    def text(self, width: int) -> None:
        self.stack.append(str(self.take(self.number(width)), "utf-8", "replace"))

    def blob(self, width: int) -> None:
        self.stack.append(self.take(self.number(width)))

    def old_string(self, width: int) -> None:
        view = self.take(self.number(width))
        self.stack.append(str(view, "latin-1") if len(view) <= _TEXT else view)

    # Numbers and text of protocol 0

    def text_int(self) -> None:
        line = self.line()
        if line in (b"00", b"01"):
            self.stack.append(line == b"01")
        else:
            self.stack.append(_decimal(line))

    def text_string(self) -> None:
        line = self.line().strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
            raise Malformed("a string has no quotes")
        value = codecs.escape_decode(line[1:-1])[0]
        self.stack.append(value.decode("latin-1") if len(value) <= _TEXT else memoryview(value))

    def long(self, width: int) -> None:
        size = self.number(width)
        if size > _LONG_BYTES:
            raise Malformed("an integer is too long")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    # Containers

    def marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def tuple(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise Malformed("the stack is empty")
        self.stack[-count:] = [items]

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Record):
            target.items.extend(values)
        else:
            raise Malformed("items for something that is no list")

    def put(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target = target.pairs
        if not isinstance(target, dict) or len(values) % 2:
            raise Malformed("items for something that is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value

    def set_item(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.put([key, value])

    # Globals, calls and state: names and records only

    def text_global(self) -> None:
        module, name = self.line(), self.line()
        self.stack.append(Global((module.decode("utf-8"), name.decode("utf-8"))))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Malformed("a global's name is no text")
        self.stack.append(Global((module, name)))

    def call(self, args: Any, callee: Any) -> Any:
        if not isinstance(callee, Global):
            return Record(("", ""), (callee, args))
        if callee.pair in _RECONSTRUCTORS and isinstance(args, tuple) and len(args) == 3:
            kind, base, value = args
            if isinstance(base, Global) and base.pair in MAPPINGS and isinstance(value, dict):
                self.budget.spend(len(value))
                return dict(value)
            return self.call((), kind)
        if callee.pair in MAPPINGS:
            return self.mapping(args)
        return Record(callee.pair, args)

    def mapping(self, args: Any) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        source = args[-1] if isinstance(args, tuple) and args else None
        if isinstance(source, dict):
            self.budget.spend(len(source))
            made.update(source)
        elif isinstance(source, list):  # Python 2 writes an OrderedDict as a list of pairs
            self.budget.spend(len(source))
            for key, value in source:
                made[_key(key)] = value
        return made

    def reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.call(args, self.stack[-1])

    def new_object_ex(self) -> None:
        self.stack.pop()
        self.reduce()

    def instance(self) -> None:
        self.text_global()
        kind = self.stack.pop()
        args = tuple(self.marked())
        self.stack.append(self.call(args, kind))

    def object(self) -> None:
        kind, *args = self.marked()
        self.stack.append(self.call(tuple(args), kind))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict):  # a mapping's attributes are of no use here
            raise Malformed("state for something that is no object")

    # Memo

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.stack.append(self.memo[index])


def _key(key: Any) -> Any:
    simple = key is None or isinstance(key, (str, bool, float, Global, Record))
    if simple or (isinstance(key, int) and abs(key) < _KEY_LIMIT):
        return key
    return bytes(key) if isinstance(key, memoryview) and len(key) <= _TEXT else OddKey(key)


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")  # no lone surrogates


def _decimal(line: bytes) -> int:
    if len(line) > 400:
        raise Malformed("an integer is too long")
    return int(line.rstrip(b"L"))


def _open(m: _Machine) -> None:
    m.marks.append(m.stack)
    m.stack = []


def _protocol(m: _Machine) -> None:
    if m.number(1) > 5:
        raise Malformed("its protocol is newer than 5")


def _frame(m: _Machine) -> None:
    if m.number(8) > len(m.data) - m.pos:
        raise Malformed("the data is cut short")


def _pop(m: _Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.marked()


def _push(value: Any) -> Callable[[_Machine], None]:
    return lambda m: m.stack.append(value)


def _discard(_: list[Any]) -> None:
    return


def _collect(m: _Machine, make: Callable[[list[Any]], Any]) -> None:
    items = m.marked()
    m.stack.append(make(items))


def _dictionary(m: _Machine) -> None:
    items = m.marked()
    m.stack.append({})
    m.put(items)


_ACTIONS: dict[int, Callable[[_Machine], None]] = {
    0x80: _protocol,
    0x95: _frame,
    # constants and numbers
    ord("N"): _push(None),
    0x88: _push(True),
    0x89: _push(False),
    ord("I"): _Machine.text_int,
    ord("L"): lambda m: m.stack.append(_decimal(m.line())),
    ord("F"): lambda m: m.stack.append(float(m.line())),
    ord("J"): lambda m: m.stack.append(int.from_bytes(m.take(4), "little", signed=True)),
    ord("K"): lambda m: m.stack.append(m.number(1)),
    ord("M"): lambda m: m.stack.append(m.number(2)),
    ord("G"): lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]),
    0x8A: lambda m: m.long(1),
    0x8B: lambda m: m.long(4),
    # text and bytes
    ord("S"): _Machine.text_string,
    ord("T"): lambda m: m.old_string(4),
    ord("U"): lambda m: m.old_string(1),
    ord("V"): lambda m: m.stack.append(_plain(m.line().decode("raw-unicode-escape"))),
    ord("X"): lambda m: m.text(4),
    0x8C: lambda m: m.text(1),
    0x8D: lambda m: m.text(8),
    ord("B"): lambda m: m.blob(4),
    ord("C"): lambda m: m.blob(1),
    0x8E: lambda m: m.blob(8),
    0x96: lambda m: m.blob(8),
    # containers
    ord("("): _open,
    ord(")"): _push(()),
    0x85: lambda m: m.tuple(1),
    0x86: lambda m: m.tuple(2),
    0x87: lambda m: m.tuple(3),
    ord("t"): lambda m: _collect(m, tuple),
    ord("]"): lambda m: m.stack.append([]),
    ord("l"): lambda m: _collect(m, list),
    ord("a"): lambda m: m.append([m.stack.pop()]),
    ord("e"): lambda m: m.append(m.marked()),
    ord("}"): lambda m: m.stack.append({}),
    ord("d"): _dictionary,
    ord("s"): _Machine.set_item,
    ord("u"): lambda m: m.put(m.marked()),
    0x8F: lambda m: m.stack.append(Record(_SET)),
    0x90: lambda m: m.append(m.marked()),
    0x91: lambda m: _collect(m, lambda items: Record(_SET, items=items)),
    # the stack
    ord("0"): _pop,
    ord("1"): lambda m: _discard(m.marked()),
    ord("2"): lambda m: m.stack.append(m.stack[-1]),
    # memo
    ord("p"): lambda m: m.remember(_decimal(m.line())),
    ord("q"): lambda m: m.remember(m.number(1)),
    ord("r"): lambda m: m.remember(m.number(4)),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("g"): lambda m: m.recall(_decimal(m.line())),
    ord("h"): lambda m: m.recall(m.number(1)),
    ord("j"): lambda m: m.recall(m.number(4)),
    # names and what is made of them
    ord("c"): _Machine.text_global,
    0x93: _Machine.stack_global,
    ord("R"): _Machine.reduce,
    0x81: _Machine.reduce,
    0x92: _Machine.new_object_ex,
    ord("i"): _Machine.instance,
    ord("o"): _Machine.object,
    ord("b"): _Machine.build,
    ord("P"): lambda m: m.stack.append(Persistent(m.line().decode("ascii"))),
    ord("Q"): lambda m: m.stack.append(Persistent(m.stack.pop())),
}
