"""The web page: Gradio's widgets around `Studio`. Imports looking, errors; the only importer of gradio.

It listens where it is told, by default on this machine alone, and asks nothing of the network: no telemetry, no fonts,
no scripts from elsewhere.
"""

import functools
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from gan_jax.errors import InputError
from gan_jax.studio.looking import MOST_SAMPLES, SLIDERS, STEPS, Studio

_ALL = "all classes"
_LARGEST = "32mb"  # of an upload
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
_CSS = """
.picture img { image-rendering: pixelated; }
footer { display: none !important; }
"""


def serve(studio: Studio, title: str, host: str = "127.0.0.1", port: int | None = None) -> None:
    """Shows the page until Ctrl-C or SIGTERM.

    Args:
        studio: the pair.
        title: of the page.
        host: address to listen on; 127.0.0.1 = this machine alone.
        port: to listen on; None = the first free one from 7860.

    Raises:
        InputError: gradio is not installed, or the address cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="gan_jax_playground_") as folder:  # uploads end with the page
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = build(studio, title)
        try:
            _, address, _ = page.launch(**_launch_arguments(), server_name=host, server_port=port)
        except OSError as error:
            raise InputError(f"--host={host} --port={port or 'any'}: {error}: choose another --port") from None
        print(f"open {address} (Ctrl-C ends)", flush=True)
        wait_for_signal()
        page.close(verbose=False)


def wait_for_signal() -> None:
    """Waits for Ctrl-C or SIGTERM, also in the background, where shells have Ctrl-C ignored; the main thread's."""
    came = threading.Event()
    former = {number: signal.signal(number, lambda *_: came.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    came.wait()
    for number, handler in former.items():
        signal.signal(number, handler)


def build(studio: Studio, title: str) -> Any:
    """The page, not yet shown.

    Raises:
        InputError: gradio is not installed.
    """
    # Before it is imported: Gradio reads these then.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio
    except ImportError:
        raise InputError("gradio is not installed: pip install 'gan-jax[playground]'") from None
    with gradio.Blocks(title=title, analytics_enabled=False) as page:
        gradio.Markdown(f"# {title}")
        gradio.Markdown(_facts(studio))
        with gradio.Tabs():
            for name, fill in (("Sample", _sample), ("Walk", _walk), ("Edit", _edit), ("Recognise", _recognise)):
                with gradio.Tab(name):
                    fill(gradio, studio)
    return page


def _launch_arguments() -> dict[str, Any]:
    import gradio

    theme = gradio.themes.Default(
        primary_hue="blue", font=_FONTS, font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"]
    )
    return {
        "share": False,
        "quiet": True,
        "show_error": False,
        "prevent_thread_lock": True,
        "ssr_mode": False,
        "footer_links": [],
        "max_file_size": _LARGEST,
        "theme": theme,
        "css": _CSS,
    }


def _facts(studio: Studio) -> str:
    gan = studio.gan
    shape = " x ".join(map(str, gan.shape))
    return f"{gan.config.model.architecture}, {shape}, step {gan.step:,}, {gan.config.data.source}"


def _said(function: Callable[..., Any], outputs: int) -> Callable[..., list[Any]]:
    """Turns bad input into a message on the page: the last output; the others are emptied."""

    @functools.wraps(function)
    def answer(*given: Any) -> list[Any]:
        try:
            result = function(*given)
        except InputError as error:
            return [None] * outputs + [f"⚠️ {error}"]
        return [*(result if isinstance(result, tuple) else (result,)), ""]

    return answer


def _class_choice(gradio: Any, studio: Studio, all_too: bool) -> Any:
    names = [*([_ALL] if all_too else []), *studio.class_names]
    return gradio.Dropdown(names, value=names[0] if names else None, label="Class", visible=bool(studio.class_names))


def _chosen(label: str | None) -> str | None:
    return None if label == _ALL else label or None


def _picture(gradio: Any, label: str) -> Any:
    gradio.Markdown(label)  # above it: Gradio's own labels cover a strip of small pictures
    return gradio.Image(
        show_label=False, format="png", interactive=False, elem_classes="picture", buttons=["download"], alt_text=label
    )


def _sample(gradio: Any, studio: Studio) -> None:
    with gradio.Row():
        with gradio.Column(scale=1):
            num = gradio.Slider(1, MOST_SAMPLES, 36, step=1, label="How many")
            seed = gradio.Number(0, precision=0, label="Seed", info="The same seed draws the same pictures.")
            limit = gradio.Slider(
                0.1,
                3,
                3,
                step=0.1,
                label="Truncation",
                info="Noise beyond this is drawn again: small is typical, 3 is off.",
            )
            label = _class_choice(gradio, studio, all_too=True)
            button = gradio.Button("Sample", variant="primary")
        with gradio.Column(scale=2):
            out, message = _picture(gradio, "Samples"), gradio.Markdown()

    def draw(num: float, seed: float, limit: float, label: str | None) -> Any:
        return studio.sample(num, seed, limit if limit < 3 else None, _chosen(label))

    button.click(_said(draw, 1), [num, seed, limit, label], [out, message], api_name="sample")


def _walk(gradio: Any, studio: Studio) -> None:
    with gradio.Row():
        first = gradio.Number(0, precision=0, label="From seed")
        second = gradio.Number(1, precision=0, label="To seed")
        label = _class_choice(gradio, studio, all_too=False)
    button = gradio.Button("Walk", variant="primary")
    out, message = _picture(gradio, f"{STEPS} pictures on the way"), gradio.Markdown()
    run = _said(lambda first, second, label: studio.walk(first, second, _chosen(label)), 1)
    button.click(run, [first, second, label], [out, message], api_name="walk")


def _edit(gradio: Any, studio: Studio) -> None:
    with gradio.Row():
        with gradio.Column(scale=1):
            seed = gradio.Number(0, precision=0, label="Seed")
            label = _class_choice(gradio, studio, all_too=False)
            count = min(SLIDERS, studio.gan.config.model.latent_size)
            sliders = [gradio.Slider(-4, 4, 0, step=0.1, label=f"Direction {n}") for n in range(1, count + 1)]
            button = gradio.Button("Show", variant="primary")
        with gradio.Column(scale=2):
            out, message = _picture(gradio, "Before and after"), gradio.Markdown()
            gradio.Markdown("Directions are ordered by how much they change the pictures of this run.")
    run = _said(lambda seed, label, *amounts: studio.edit(seed, amounts, _chosen(label)), 1)
    inputs = [seed, label, *sliders]
    button.click(run, inputs, [out, message], api_name="edit")
    for slider in sliders:
        slider.release(run, inputs, [out, message], api_visibility="private")


def _recognise(gradio: Any, studio: Studio) -> None:
    height, width, _ = studio.gan.shape
    with gradio.Row():
        with gradio.Column(scale=1):
            upload = gradio.File(label="A picture: PNG, JPEG or WebP", type="filepath")
            gradio.Markdown(f"It is cropped and resized to {height} x {width}, as the training images were.")
        with gradio.Column(scale=2):
            message = gradio.Markdown()
            text = gradio.Markdown()
            seen = _picture(gradio, "As the networks see it, and the generator's reconstruction")
            near = _picture(gradio, "Nearest training images, in the discriminator's features")

    def look(path: str | None) -> tuple[Any, ...]:
        if path is None:  # the upload was taken away
            return None, None, None
        found = studio.recognise(path)
        return found.text, found.seen, found.neighbours

    upload.change(_said(look, 3), upload, [text, seen, near, message], api_name="recognise")
