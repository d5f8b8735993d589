"""Serve a page on this machine that finds the visible pictures most like an infrared one."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from torchreid_vi.data.images import Range, read_image
from torchreid_vi.data.listing import images_under
from torchreid_vi.errors import InputError
from torchreid_vi.extras import require
from torchreid_vi.report.page import data_uri
from torchreid_vi.retrieval.gallery import Found, Gallery

LARGEST_UPLOAD = "20mb"
_SIZE = (360, 360)  # pixels of a picture that was found, at most
_STYLE = """
ol { display: flex; flex-wrap: wrap; gap: 12px; list-style: none; margin: 0; padding: 0; }
li { width: 96px; text-align: center; font-size: 13px; line-height: 1.3; overflow-wrap: anywhere; }
img { width: 100%; height: 180px; object-fit: contain; background: #8882; border-radius: 6px; }
img { border: 4px solid #188c3c; }
b { display: block; font-size: 15px; }
.below img { border-color: #8885; opacity: 0.45; }
.below { color: #888; }
p { margin: 0 0 12px; }
"""


@contextmanager
def served(
    gallery: Gallery, examples: Sequence[Path] = (), port: int | None = None, top: int = 10
) -> Iterator[str]:
    """Serve the page on the loopback interface until the block exits.

    Uploads lie in a temporary folder, which is removed in the end. Nothing is sent anywhere.

    Args:
        gallery: Gallery to search in.
        examples: Infrared pictures to pick from.
        port: Port to listen on; from 7860 on the first that is free when left out.
        top: Number of pictures to show.

    Yields:
        The address.

    Raises:
        InputError: When Gradio is not installed, or the port is taken.
    """
    if port is not None and not 1 <= port <= 65535:
        raise InputError(f"--port is {port}: it must be from 1 to 65535")
    with (
        tempfile.TemporaryDirectory(prefix="torchreid_vi-demo-") as folder,
        _environment(GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False"),
    ):
        (gr,) = require("demo", "the page")
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        page = _page(gallery, examples, top, Path(folder).resolve())
        # A page elsewhere whose name leads to this machine gets no answer.
        here = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
        try:
            _, address, _ = page.launch(
                server_name="127.0.0.1",
                server_port=port,
                share=False,
                max_file_size=LARGEST_UPLOAD,
                theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
                footer_links=[],
                run_history=False,
                ssr_mode=False,
                app_kwargs={"middleware": [here]},
                quiet=True,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise InputError(f"port {port or 7860} cannot be used: name another with --port") from error
        try:
            yield address
        finally:
            page.close(verbose=False)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set variables and hide proxies until the block exits, as Gradio asks its own address at the start."""
    before = dict(os.environ)
    for name in before:
        if name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(values, no_proxy="127.0.0.1,localhost", NO_PROXY="127.0.0.1,localhost")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _page(gallery: Gallery, examples: Sequence[Path], top: int, uploads: Path) -> Any:
    import gradio as gr

    unreadable = gr.Error("This picture cannot be read: try another one.", print_exception=False)

    def uploaded(payload: Any) -> str | None:
        """Return the file that was uploaded, which our own reader then reads or refuses."""
        if payload and not Path(payload.path or "").resolve().is_relative_to(uploads):
            raise unreadable
        return payload.path if payload else None

    def search(path: str | None, least: float) -> tuple[list[Found], str]:
        if not path:
            return [], ""
        try:
            picture = gallery.extractor.image(path)
        except InputError as error:
            raise unreadable from error
        found = gallery.search([picture], "infrared", top)[0]
        return found, answers(gallery, found, least)

    def move(found: list[Found], least: float) -> str:
        return answers(gallery, found, least) if found else ""

    with gr.Blocks(title="torchreid_vi", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(
            "# Who is this?\nAn infrared picture of a person finds the visible pictures most like it."
        )
        found = gr.State([])
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                upload = gr.Image(
                    label="Infrared picture", sources=["upload", "clipboard"], height=300, type="filepath"
                )
                upload.preprocess = uploaded  # type: ignore[method-assign]
                least = gr.Slider(-1, 1, 0.5, step=0.01, label="Least similarity")
            with gr.Column(scale=2, min_width=320):
                shown = gr.HTML(css_template=_STYLE)
        if examples:
            pictures = [str(path) for path in examples]
            gr.Examples(pictures, upload, label="Pick one", examples_per_page=len(pictures))
        hidden: dict[str, Any] = {"api_visibility": "undocumented"}
        upload.change(search, [upload, least], [found, shown], api_name="search", **hidden)
        least.change(move, [found, least], shown, show_progress="hidden", api_name="move", **hidden)
    return page


def answers(gallery: Gallery, found: Sequence[Found], least: float) -> str:
    """Return what a search found as HTML, with pictures dimmed that are less similar than ``least``."""
    items = []
    for rank, (path, similarity) in enumerate(found, 1):
        thumbnail = _thumbnail(path, gallery.extractor.decoder.thermal)
        name = html.escape(str(path.relative_to(gallery.folder)))
        below = "" if similarity >= least else " class=below"
        picture = f'<img src="{thumbnail}" alt="rank {rank}, {name}">'
        items.append(f"<li{below}>{picture}<b>{similarity:.2f}</b>{name}</li>")
    number = sum(answer.similarity >= least for answer in found)
    nearest = f"{len(found)} nearest of {len(gallery.paths):,} pictures"
    text = f"{number} of the {nearest} are at least {least:.2f} similar."
    return f'<p role="status">{text}</p><ol>{"".join(items)}</ol>'


@lru_cache(512)
def _thumbnail(path: Path, thermal: Range | None) -> str:
    try:
        image = read_image(path, thermal=thermal)
    except InputError:  # it could be read when the page was started
        return ""
    image.thumbnail(_SIZE)
    return data_uri(image)


def some_of(folder: Path, number: int = 12) -> list[Path]:
    """Return up to ``number`` pictures of a folder and its folders, evenly chosen.

    Raises:
        InputError: When there are none.
    """
    paths = images_under(folder)
    return paths[:: max(1, -(-len(paths) // number))]
