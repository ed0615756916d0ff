"""Images of a conversation: read, known by content, turned into what a model takes. All on PIL, without torchvision."""

import base64
import binascii
import hashlib
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.digest import chat_template

QWEN_VL = "Qwen2VLImageProcessorPil"
"""The image processor of Qwen2-VL and all that came after it."""

PER_TOKEN = ("token_type_ids", "mm_token_type_ids")
"""Features that tell image tokens from text, which ids tell too."""
FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json", "chat_template.json")
"""What a folder may hold for images; the tokenizer writes its own files, the template among them."""


@dataclass(frozen=True)
class PixelLimits:
    """Fewest and most pixels an image is scaled to, for processors that take limits (the Qwen-VL family's).

    Others scale every image to a size of their own.
    """

    least: int
    most: int

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most:
            raise CopsdError(f"Pixel limits {self.least} to {self.most} are not possible; give 0 < least <= most.")

    @classmethod
    def of(cls, pair: Any) -> "PixelLimits | None":
        """Limits of `[least, most]`; None is none.

        Raises:
            CopsdError: it is no such pair.
        """
        if pair is None:
            return None
        if not isinstance(pair, list | tuple) or [type(number) for number in pair] != [int, int]:
            raise CopsdError(f"Pixel limits are a pair of whole numbers [least, most], not {pair!r}.")
        return cls(*pair)


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        pixels: PIL image, RGB, upright.
        sha256: of the file's bytes (of mode, size and pixels if it never was a file).
    """

    pixels: Any
    sha256: str


def images_of(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The image of each image part, in order."""
    return [
        part["image"]
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part.get("type") == "image"
    ]


def read_image(image: Any) -> Picture:
    """An image from a PIL image, a path, or a base64 `data:` URI.

    Transparency is dropped, not blended: so do the processors of transformers.

    Raises:
        CopsdError: there is no such file, or it cannot be decoded to its last pixel.
    """
    from PIL import Image, ImageOps

    name = str(image)
    try:
        if isinstance(image, Image.Image):
            digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
            return Picture(ImageOps.exif_transpose(image).convert("RGB"), digest)
        data = _decoded(name) if name.startswith("data:") else Path(name).read_bytes()
        pixels = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    # PIL reports a broken PNG as a SyntaxError.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        shown = name if len(name) < 80 else name[:60] + "..."
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CopsdError(f"Image {shown!r} cannot be read: {reason.splitlines()[0]}.", ExitCode.DATA) from error
    return Picture(pixels, hashlib.sha256(data).hexdigest())


def data_uri(path: Path) -> str:
    """An image file as an API takes it.

    Raises:
        CopsdError: as `read_image`.
    """
    from PIL import Image

    read_image(path)
    data = path.read_bytes()
    kind = Image.open(io.BytesIO(data)).get_format_mimetype() or "image/png"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _decoded(uri: str) -> bytes:
    header, comma, body = uri.partition(",")
    if not comma or not header.endswith(";base64"):
        raise ValueError("it is no base64 data URI")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ValueError(f"its base64 is broken ({error})") from error


class Processor:
    """A rendered chat template and its images -> token ids and pixel features.

    The processors of the Qwen-VL family need torchvision, for their videos. Their image half does not, and the text
    half is only this: the one placeholder the template writes for an image becomes one a merged patch. It is done here,
    so that the result is the same with and without torchvision. Other families' own processors are used.

    Args:
        path: model folder.
        tokenizer: of the model.
        image_token_id: the placeholder, by the model's config.
        trust_remote_code: run code that comes with the model.

    Raises:
        OSError, ValueError, ImportError: transformers cannot load the folder's processor.
    """

    def __init__(self, path: Path, tokenizer: Any, image_token_id: int, trust_remote_code: bool = False) -> None:
        from transformers import AutoImageProcessor, AutoProcessor

        common: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
        self.path = path
        self.tokenizer = tokenizer
        self.image_token_id = image_token_id
        self.image_processor = AutoImageProcessor.from_pretrained(path, backend="pil", **common)
        self._whole: Any = None
        if type(self.image_processor).__name__ != QWEN_VL:
            self._whole = AutoProcessor.from_pretrained(path, **common)
            self._whole.image_processor = self.image_processor
            self.tokenizer = self._whole.tokenizer  # it may have added its placeholders
        self.tokenizer.chat_template = chat_template(path) or None  # the processor's, where a model has two

    def __call__(
        self, text: str, images: Sequence[Picture], limits: PixelLimits | None = None
    ) -> tuple[list[int], dict[str, Any]]:
        """Token ids with placeholders expanded, and features (tensors, as the model's forward pass names them).

        Raises:
            CopsdError: the text has not one placeholder an image, or an image has an impossible shape.
        """
        pixels = [image.pixels for image in images]
        try:
            make = self._expanded if self._whole is None else self._by_transformers
            ids, features = make(text, pixels, limits)
            if ids[-1] == self.image_token_id:
                raise ValueError("the prompt ends with it; put text after it")
            return ids, features
        except (ValueError, IndexError, StopIteration, RuntimeError) as error:
            reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise CopsdError(f"The model's processor refuses the image: {reason}.", ExitCode.DATA) from error

    def options(self, limits: PixelLimits | None) -> dict[str, Any]:
        """Pixel limits as arguments of the image processor; none where it takes no limits."""
        if limits is None or self._whole is not None:
            return {}
        return {"size": {"shortest_edge": limits.least, "longest_edge": limits.most}}

    def save_pretrained(self, folder: Path) -> None:
        """Write what a model folder needs beside weights, as it came."""
        self.tokenizer.save_pretrained(folder)
        for name in FILES:
            if (self.path / name).is_file():
                shutil.copy(self.path / name, folder / name)

    def _expanded(
        self, text: str, pixels: Sequence[Any], limits: PixelLimits | None
    ) -> tuple[list[int], dict[str, Any]]:
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if (found := ids.count(self.image_token_id)) != len(pixels):
            raise ValueError(f"the chat template writes {found} placeholders for {len(pixels)} images")
        features = dict(self.image_processor(images=list(pixels), return_tensors="pt", **self.options(limits)))
        merged = self.image_processor.merge_size**2
        counts = iter((features["image_grid_thw"].prod(dim=1) // merged).tolist())
        return [i for one in ids for i in ([one] * next(counts) if one == self.image_token_id else [one])], features

    def _by_transformers(
        self, text: str, pixels: Sequence[Any], _: PixelLimits | None
    ) -> tuple[list[int], dict[str, Any]]:
        inputs = self._whole(text=[text], images=list(pixels), add_special_tokens=False, return_tensors="pt")
        ids: list[int] = inputs["input_ids"][0].tolist()
        if ids.count(self.image_token_id) < len(pixels):
            raise ValueError(f"the prompt has no placeholder for one of {len(pixels)} images")
        marks = inputs["input_ids"] == self.image_token_id
        if any(not bool((inputs[key] == marks).all()) for key in PER_TOKEN if key in inputs):
            raise ValueError("it tells more kinds of tokens apart than image and text")
        return ids, {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")}
