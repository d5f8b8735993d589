"""Packages from elsewhere: an archive's address, a link to Google Drive, or a repository of the Hugging Face Hub.

Nothing is fetched unless somebody named where from, and nothing that was fetched is used before it was checked.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import gdown

from torchreid_vi import console
from torchreid_vi.errors import InputError
from torchreid_vi.extras import require
from torchreid_vi.files import write_text
from torchreid_vi.folders import user_cache
from torchreid_vi.locking import locked
from torchreid_vi.sharing.archives import unpack
from torchreid_vi.sharing.package import LARGEST, MANIFEST, NEEDED, read_manifest, verify

HUB = "hf://"
_SHA256 = re.compile("[0-9a-f]{64}")
_DRIVE = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
_HERE = ("localhost", "127.0.0.1", "::1")
_SILENCE = 60  # seconds after which a server is given up


def fetch(url: str) -> Path:
    """The folder of a package whose archive lies at an address, under the user's cache.

    Each archive has a folder under its SHA-256, so what another process has found stays as it is. What was fetched
    before is used again, unless it was damaged since or another SHA-256 is asked for.

    Args:
        url: ``https://`` of a zip or tar archive, or a link to one on Google Drive; ``#sha256=…`` at its end says
            what the archive has to be.

    Raises:
        InputError: when it cannot be fetched or is not what it should be.
    """
    address, expected = _parsed(url)
    cache = user_cache() / "weights"
    last = cache / f"{hashlib.sha256(address.encode()).hexdigest()[:24]}.txt"  # SHA-256 of what lay there
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(f"{last}.lock"):
            found = expected or (last.read_text("utf-8", "replace") if last.is_file() else "")
            if not (_SHA256.fullmatch(found) and _is_whole(cache / found)):
                found = _get(address, cache, last.stem, expected)
                write_text(last, found)
    except OSError as error:
        raise InputError(
            f"{cache} cannot be written ({error.strerror}): set XDG_CACHE_HOME to another folder"
        ) from error
    return cache / found


def fetch_from_hub(named: str) -> Path:
    """The folder of a package in a repository of the Hugging Face Hub, in that library's own cache.

    Args:
        named: ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``.

    Raises:
        InputError: when the library is missing, or the package cannot be fetched or is not what it should be.
    """
    hf_hub_download = require("share", named)[0].hf_hub_download
    name, _, revision = named.removeprefix(HUB).partition("@")
    try:
        listed = Path(hf_hub_download(name, MANIFEST, revision=revision or None))
        read_manifest(listed.parent, named)
        for file in NEEDED:  # of the same commit, whatever is pushed meanwhile
            hf_hub_download(name, file, revision=listed.parent.name)
    except InputError:
        raise
    except Exception as error:  # the library's, its HTTP client's or the system's
        reason = _reason(error.__cause__ or error)
        raise InputError(
            f"{named} cannot be fetched ({reason}): check OWNER/NAME@REVISION and the network"
        ) from error
    verify(listed.parent, named)
    return listed.parent


def _parsed(url: str) -> tuple[str, str]:
    """An address without its fragment, and the SHA-256 that the fragment asks for, if any."""
    address, _, fragment = url.partition("#")
    expected = fragment.removeprefix("sha256=").lower()
    if fragment and not (fragment.startswith("sha256=") and _SHA256.fullmatch(expected)):
        raise InputError(f"{url} ends in '#{fragment}': write #sha256= and 64 hexadecimal digits")
    _check_scheme(address)
    return address, expected


def _check_scheme(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)
    except ValueError:  # such as http://[
        safe = False
    if not safe:
        raise InputError(
            f"{address} is no address to fetch weights from: https:// and {HUB} are, and http:// on this machine"
        )
    return parts


def _is_whole(folder: Path) -> bool:
    try:
        verify(folder)
    except (InputError, OSError):
        return False
    return True


def _get(address: str, cache: Path, name: str, expected: str) -> str:
    """Makes the folder of the archive at an address, whole or not at all; returns the archive's SHA-256."""
    partial = cache / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    package = partial / "package"
    package.mkdir(parents=True)
    try:
        console.say(f"Fetching {address}")
        found = _download(address, partial / "archive")
        if expected and found != expected:
            raise InputError(
                f"{address} has SHA-256 {found}, and not the one that was asked for: it was refused"
            )
        unpack(partial / "archive", package, address)
        verify(package, address)
        if not _is_whole(cache / found):  # which another address may have given
            shutil.rmtree(cache / found, ignore_errors=True)
            package.rename(cache / found)
        return found
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Download(io.FileIO):
    """A file that knows its SHA-256 and ends at a limit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self.digest, self.length = hashlib.sha256(), 0

    def write(self, data: Any) -> int:
        self.length += len(data)
        if self.length > LARGEST:
            raise InputError(f"what is fetched is larger than {LARGEST / 2**30:g} GiB: it was refused")
        self.digest.update(data)
        return super().write(data)


class _Redirects(HTTPRedirectHandler):
    """Follows no redirection to where nobody could have asked to go, nor from https:// to http://."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if _check_scheme(newurl).scheme == "http" and req.type == "https":
            raise InputError(f"{req.full_url} leads to {newurl}, which is not encrypted: it was refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(address: str, path: Path) -> str:
    """Writes what lies at an address; returns its SHA-256."""
    try:
        with _Download(path) as file:
            if drive := _drive_id(address):
                gdown.download(id=drive, output=file, quiet=True, use_cookies=False)
            else:
                _over_http(address, file)
            return file.digest.hexdigest()
    except InputError:
        raise
    except Exception as error:  # gdown's, urllib's, those of their HTTP clients, or the system's
        raise InputError(
            f"{address} cannot be fetched ({_reason(error)}): check the address and the network"
        ) from error


def _over_http(address: str, file: _Download) -> None:
    with build_opener(_Redirects).open(address, timeout=_SILENCE) as answer:
        announced = answer.headers.get("Content-Length")
        if announced and int(announced) > LARGEST:
            raise InputError(f"{address} is larger than {LARGEST / 2**30:g} GiB: it was refused")
        shutil.copyfileobj(answer, file, 2**20)
        if announced and file.length != int(announced):
            raise ConnectionError(f"it ended after {file.length:,} of {int(announced):,} bytes")


def _drive_id(address: str) -> str:
    """What Google Drive calls a file, empty for an address that is none of its."""
    parts = urlsplit(address)
    if parts.hostname not in _DRIVE:
        return ""
    in_path = re.search(r"/d/([\w-]+)", parts.path)
    found = in_path[1] if in_path else parse_qs(parts.query).get("id", [""])[0]
    if not found:
        raise InputError(f"{address} names no file of Google Drive: use the link that its Share button gives")
    return found


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
