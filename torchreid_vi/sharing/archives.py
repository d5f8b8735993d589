"""A package out of a zip or tar archive, of which nothing but its own files is ever written."""

from __future__ import annotations

import bz2
import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

from torchreid_vi.errors import InputError
from torchreid_vi.files import COMPRESSED
from torchreid_vi.sharing.package import LARGEST, LARGEST_TEXT, MANIFEST, SETTINGS, WEIGHTS

_MOST_MEMBERS = 1000
_BLOCK = 2**20  # bytes read at once


class _Member(NamedTuple):
    """A file or folder of an archive; ``plain`` is False for links, devices and the like."""

    name: str
    size: int
    plain: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, named: str) -> None:
    """Writes the settings, the weights and the list of files of a package in an archive.

    They may lie in a folder of the archive. What else it holds is not read, but an archive with links, or with
    names that lead out of it, is refused whole.

    Args:
        archive: zip or tar, compressed by gzip, bzip2 or not at all.
        folder: to write to.
        named: what the user calls the archive.

    Raises:
        InputError: when it is no such archive, or would write elsewhere or too much.
    """
    try:
        with _opened(archive, named) as members:
            found = {str(PurePosixPath(member.name)): member for member in _checked(members, named)}
            lists = [name for name in found if PurePosixPath(name).name == MANIFEST]
            if len(lists) != 1:
                raise InputError(
                    f"{named} holds {len(lists) or 'no'} {MANIFEST}: name an archive of a folder that "
                    "tools/package_weights.py wrote"
                )
            top = PurePosixPath(lists[0]).parent
            for name, most in ((MANIFEST, LARGEST_TEXT), (SETTINGS, LARGEST_TEXT), (WEIGHTS, LARGEST)):
                if (member := found.get(str(top / name))) is None:
                    raise InputError(f"{named} lacks {name}: get the package again")
                _copy(member, folder / name, most, named)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged archive makes the readers raise
        raise InputError(f"{named} is damaged: get it again") from error


@contextmanager
def _opened(archive: Path, named: str) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as content:
            if any(info.compress_type not in COMPRESSED for info in content.infolist()):
                raise InputError(
                    f"{named} is compressed in an unusual way: have its author write a plain zip"
                )
            yield (
                _Member(info.filename, info.file_size, _is_plain(info), partial(content.open, info))
                for info in content.infolist()
            )
        return
    with _decompressed(archive) as source:
        try:
            tarfile.open(fileobj=cast(Any, _Bounded(source)), mode="r:").close()
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise InputError(
                f"{named} is neither a zip nor a tar archive, plain or compressed by gzip or bzip2: name one of a "
                "package"
            ) from error
    with (
        _decompressed(archive) as source,
        tarfile.open(fileobj=cast(Any, _Bounded(source)), mode="r:") as tar,
    ):
        yield (
            _Member(
                info.name,
                info.size,
                info.isreg() or info.isdir(),
                cast(Any, partial(tar.extractfile, info)),
            )
            for info in tar
        )


def _decompressed(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        start = file.read(3)
    known = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
    opener: Any = next((found for mark, found in known.items() if start.startswith(mark)), open)
    return cast(IO[bytes], opener(archive, "rb"))


class _Bounded:
    """A file of which little is read at once: a header may claim to be as long as memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= 2 * _BLOCK:
            raise tarfile.ReadError("a header is too long")
        return self.file.read(size)


def _is_plain(info: zipfile.ZipInfo) -> bool:
    return stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


def _checked(members: Iterator[_Member], named: str) -> Iterator[_Member]:
    """The members, as long as none of them leads out of the archive and they are not too many or too large."""
    total = 0
    for number, member in enumerate(members):
        path = PurePosixPath(member.name)
        if not member.plain or path.is_absolute() or ".." in path.parts or {"\\", ":"} & set(member.name):
            raise InputError(
                f"{named} holds {member.name[:80]!r}, a link or a name that leads out of it: it was refused"
            )
        total += member.size
        if total > LARGEST or number >= _MOST_MEMBERS:
            raise InputError(
                f"{named} holds more than {LARGEST / 2**30:g} GiB or {_MOST_MEMBERS} files: it was refused"
            )
        yield member


def _copy(member: _Member, path: Path, most: int, named: str) -> None:
    if member.size > most:
        raise InputError(f"{member.name[:80]} of {named} is of {member.size:,} bytes: it was refused")
    with member.open() as source, path.open("wb") as target:
        left = member.size
        while block := source.read(min(_BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise InputError(f"{member.name[:80]} of {named} is longer than it says: it was refused")
            target.write(block)
