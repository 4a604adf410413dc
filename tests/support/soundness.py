"""Whether a memory is sound, found out without the inspector: by docs/format.md in plain Python, and by the core.

The idea is the same for every structure: what is read out of the memory is written again, and must give the bytes that
are there. A damaged memory that passes is another sound memory, one that the crate writes for other contents: nobody who
sees it alone can know that it was damaged.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from stable_structures import PAGE_SIZE, StableBTreeMap, StableCell, StableError, StableLog, StableMemory, StableVec
from stable_structures.storable import Codec

from .byte_model import ModelMap, rank_of

Types = dict[int | None, tuple[Codec[Any] | None, Codec[Any] | None]]
ROWS = {b"SVC": "vec", b"SMH": "heap"}


def number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def memory_of(data: bytes) -> StableMemory:
    memory = StableMemory()
    memory.grow(len(data) // PAGE_SIZE)
    memory.write(0, data)
    return memory


def is_sound(data: bytes, types: Types) -> bool:
    """Whether the memory follows every rule of the format, its contents being of these types."""
    try:
        if None in types:
            return is_structure(data, None, types[None])
        return is_managed(data, types)
    except StableError:
        return False


# ---- docs/format.md#memory-manager ----


def is_managed(data: bytes, types: Types) -> bool:
    allocated, bucket_pages, owners = number(data, 4, 2), number(data, 6, 2), data[2080 : 2080 + 32_768]
    sizes = [number(data, 40 + 8 * i, 8) for i in range(255)]
    fits = bucket_pages > 0 and len(data) >= PAGE_SIZE * (1 + bucket_pages * allocated)
    if data[:4] != b"MGR\x01" or not fits or any(data[8:40]) or owners[allocated:].strip(b"\xff"):
        return False
    owned = [[i for i, owner in enumerate(owners[:allocated]) if owner == memory] for memory in range(256)]
    if owned[255] or any(len(mine) != -(-size // bucket_pages) for mine, size in zip(owned, sizes, strict=False)):
        return False
    step = bucket_pages * PAGE_SIZE

    def virtual(memory: int) -> bytes:
        whole = b"".join(data[PAGE_SIZE + i * step : PAGE_SIZE + (i + 1) * step] for i in owned[memory])
        return whole[: sizes[memory] * PAGE_SIZE]

    return all(is_structure(virtual(memory), virtual((memory + 1) % 255), types_) for memory, types_ in types.items() if memory is not None)


# ---- the structures ----


def is_structure(data: bytes, following: bytes | None, types: tuple[Codec[Any] | None, Codec[Any] | None]) -> bool:
    """`following` is the memory behind it, where a log has its data."""
    key, value = types
    assert value is not None
    magic = data[:3]
    if magic in ROWS:
        return is_row(data, value)
    if magic == b"BTR" and key is not None:
        return is_map(data, key, value)
    if magic == b"SCL":
        return is_cell(data, value)
    return magic == b"GLI" and following is not None and is_log(data, following, value)


def is_row(data: bytes, element: Codec[Any]) -> bool:
    """Pushing its elements writes its header and slots; what is behind an element in its slot may be anything."""
    as_vec = b"SVC" + data[3:]
    found = StableVec[element].load(memory_of(as_vec))  # type: ignore[valid-type]
    values = list(found)
    fresh = StableMemory()
    StableVec[element](fresh).extend(values)  # type: ignore[valid-type]
    again = fresh.read(0, fresh.nbytes)
    most, fixed = element.bound.max_size or 0, element.bound.is_fixed_size
    width = 0 if fixed else 1 if most < 256 else 2 if most < 65_536 else 4
    for i, value in enumerate(values):
        at = 64 + i * (width + most)
        end = at + width + len(element.encode(value))
        if as_vec[at:end] != again[at:end]:
            return False
    heap = data[:3] != b"SMH" or not any(element.less(value, values[(i - 1) // 2]) for i, value in enumerate(values) if i)
    return as_vec[:17] == again[:17] and heap


def is_cell(data: bytes, element: Codec[Any]) -> bool:
    if data[3] != 1 or 8 + number(data, 4, 4) > len(data):
        return False
    fresh = StableMemory()
    value = element.decode(data[8 : 8 + number(data, 4, 4)])
    StableCell[element](fresh, value)  # type: ignore[valid-type]
    return data.startswith(fresh.read(0, 8 + len(element.encode(value))))


def is_log(index: bytes, data: bytes, element: Codec[Any]) -> bool:
    if index[:4] != b"GLI\x01" or data[:4] != b"GLD\x01":
        return False
    found = StableLog[element](memory_of(index), memory_of(data))  # type: ignore[valid-type]
    if found.violations():
        return False
    fresh = StableMemory(), StableMemory()
    again = StableLog[element](*fresh)  # type: ignore[valid-type]
    again.extend(list(found))
    ends = fresh[0].read(32, 8 + 8 * len(again))
    entries = fresh[1].read(32, number(ends, len(ends) - 8, 8) if len(again) else 0)
    return index[32:].startswith(ends) and data[32:].startswith(entries)


def is_map(data: bytes, key: Codec[Any], value: Codec[Any]) -> bool:
    """The core finds nothing, the entries ascend and are encoded as their types are, and saving all nodes changes no byte."""
    if StableBTreeMap[key, value].load(memory_of(data)).violations():  # type: ignore[valid-type]
        return False
    bounds = [(codec.bound.max_size, codec.bound.is_fixed_size) for codec in (key, value)]
    model = ModelMap(*bounds, rank_of(key), data)
    save_all(model, model.root)
    entries = model.entries()
    again = [(key.encode(key.decode(k)), value.encode(value.decode(v))) for k, v in entries]
    ascending = all(key.less(key.decode(a), key.decode(b)) for (a, _), (b, _) in pairwise(entries))
    return again == entries and ascending and len(entries) == model.length and bytes(model.memory.data) == data


def save_all(model: ModelMap, address: int) -> None:
    node = model.load(address) if address else None
    for child in node.children if node else []:
        save_all(model, child)
    if node:
        model.save(node)
