"""Fetch a file of weights from an address, or a package from the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import gdown

from torchreid_vi.errors import InputError
from torchreid_vi.extras import require
from torchreid_vi.files import atomic_path, sha256_of
from torchreid_vi.folders import user_cache
from torchreid_vi.locking import locked
from torchreid_vi.sharing.package import MANIFEST, SETTINGS, WEIGHTS

log = logging.getLogger(__name__)

HUB = "hf://"
_DRIVE = ("drive.google.com", "docs.google.com", "drive.usercontent.google.com")
_HERE = ("localhost", "127.0.0.1", "::1")
_TIMEOUT = 60  # seconds without an answer


def fetch(url: str) -> Path:
    """Return the file of weights at an address, from the user's cache if it was fetched before.

    Args:
        url: ``https://`` address of a checkpoint or a ``.safetensors`` file, or a link to a checkpoint on Google
            Drive; ``#sha256=…`` at its end names the digest that the file must have.

    Raises:
        InputError: When it cannot be fetched or has another SHA-256.
    """
    address, _, fragment = url.partition("#")
    expected = fragment.lower().removeprefix("sha256=")
    if fragment and not re.fullmatch("sha256=[0-9a-f]{64}", fragment.lower()):
        raise InputError(f"{url} ends in '#{fragment}': write #sha256= and 64 hexadecimal digits")
    suffix = ".safetensors" if _checked(address).path.endswith(".safetensors") else ".pth"
    path = user_cache() / "weights" / f"{hashlib.sha256(address.encode()).hexdigest()[:24]}{suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(f"{path}.lock"), atomic_path(path) as partial:
            if not path.is_file() or (expected and sha256_of(path) != expected):
                log.info(f"Fetching {address}")
                _download(address, partial)
                if expected and (found := sha256_of(partial)) != expected:
                    raise InputError(f"{address} has SHA-256 {found}, not the expected one")
                partial.replace(path)
    except OSError as error:
        reason = f"{path.parent} cannot be written ({error.strerror})"
        raise InputError(f"{reason}: set XDG_CACHE_HOME to another folder") from error
    return path


def fetch_from_hub(named: str) -> Path:
    """Return the folder of a package from the Hugging Face Hub, in that library's own cache.

    Args:
        named: ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``.

    Raises:
        InputError: When the library is missing, or the package cannot be fetched.
    """
    hf_hub_download = require("share", named)[0].hf_hub_download
    name, _, revision = named.removeprefix(HUB).partition("@")
    try:
        folder = Path(hf_hub_download(name, MANIFEST, revision=revision or None)).parent
        for file in (SETTINGS, WEIGHTS):  # of the same commit, whatever is pushed meanwhile
            hf_hub_download(name, file, revision=folder.name)
        return folder
    except Exception as error:  # the library's, its HTTP client's or the system's
        reason = _reason(error.__cause__ or error)
        raise InputError(f"{named} cannot be fetched ({reason}): check OWNER/NAME@REVISION") from error


def _checked(address: str) -> SplitResult:
    """Return the parts of an address, which must be encrypted or on this machine."""
    try:
        parts = urlsplit(address)
        if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE):
            return parts
    except ValueError:  # such as http://[
        pass
    raise InputError(f"{address} is no address to fetch weights from: https:// and {HUB} are")


class _Redirects(HTTPRedirectHandler):
    """Follow redirections from encrypted addresses to encrypted ones alone."""

    def redirect_request(self, req: Request, *args: Any) -> Request | None:
        *_, address = args
        if _checked(address).scheme != "https" and req.type == "https":
            raise InputError(f"{req.full_url} leads to {address}, which is not encrypted: name another")
        return super().redirect_request(req, *args)


def _download(address: str, path: Path) -> None:
    """Write the file at an address."""
    try:
        if _checked(address).hostname in _DRIVE:
            named = re.search(r"(?:/d/|[?&]id=)([\w-]+)", address)
            if not named:
                raise InputError(f"{address} names no file of Google Drive: use the link of its Share button")
            gdown.download(id=named[1], output=str(path), quiet=True, use_cookies=False)
            return
        opener = build_opener(_Redirects)
        with opener.open(address, timeout=_TIMEOUT) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, 2**20)
            size, announced = file.tell(), answer.headers.get("Content-Length")
        if announced and size != int(announced):
            raise ConnectionError(f"it ended after {size:,} of {int(announced):,} bytes")
    except InputError:
        raise
    except Exception as error:  # gdown's, urllib's, those of their HTTP clients, or the system's
        raise InputError(f"{address} cannot be fetched ({_reason(error)}): check the address") from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
