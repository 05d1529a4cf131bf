"""Runs the network of an exported file: arrays in, arrays by name out."""

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from .description import KEY
from .openvino_graph import rewrite

Arrays = dict[str, np.ndarray]


class Session(Protocol):
    """A loaded file.

    Attributes:
        description: the text of its metadata, "" where it has none.
    """

    description: str

    def __call__(self, images: np.ndarray, image_sizes: np.ndarray) -> Arrays:
        """(B, 3, H, W) float32 in 0..255 and (B, 2) int64 -> outputs by name, images first."""
        ...


class OnnxSession:
    """An ONNX file in onnxruntime.

    Args:
        threads: of one computation; 0 lets the runtime choose.
        device: "cpu" or "cuda", which onnxruntime-gpu has.

    Raises:
        ImportError: onnxruntime is missing.
        ValueError: the file cannot be loaded, or there is no such device.
    """

    def __init__(self, path: Path, *, device: str = "cpu", threads: int = 0):
        onnxruntime = _package("onnxruntime", path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only
        provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device, device)
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise ValueError(f"device={device!r} is not there: this onnxruntime has {', '.join(available)}.")
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:  # onnxruntime has a class of its own for each status, all below Exception
            raise unreadable(path, error) from error
        self.description = self.session.get_modelmeta().custom_metadata_map.get(KEY, "")
        self.names = [output.name for output in self.session.get_outputs()]
        self.inputs = {entry.name for entry in self.session.get_inputs()}

    def __call__(self, images: np.ndarray, image_sizes: np.ndarray) -> Arrays:
        feeds = {"images": images, "image_sizes": image_sizes}  # a graph that needs no sizes may lack that input
        outputs = self.session.run(self.names, {name: feeds[name] for name in feeds if name in self.inputs})
        return dict(zip(self.names, cast(list[np.ndarray], outputs), strict=True))


@cache
def openvino_core() -> Any:
    """The one `openvino.Core` of this process, which is never destroyed.

    A core gives the thread that compiles with it an alternate signal stack, and takes its memory back when it is
    destroyed. Where two cores go in the order in which they came, or one goes in another thread, the thread is left
    with a stack that is not there, and the next signal that has a handler in Python (of a worker of torch's data
    loader that ends, of Ctrl-C) ends the process without a word (OpenVINO 2026.4, Linux;
    findings/openvino_leaves_a_signal_stack.sh).

    Raises:
        ImportError: openvino is missing.
    """
    return import_module("openvino").Core()


class OpenVinoSession:
    """A file of OpenVINO (`.xml`, with its `.bin` beside it), or an ONNX file, in OpenVINO.

    Args:
        threads: of one computation; 0 lets the runtime choose.
        device: a name of OpenVINO's, such as "cpu" or "gpu".

    Raises:
        ImportError: openvino is missing.
        ValueError: the file cannot be loaded, or there is no such device.
    """

    def __init__(self, path: Path, *, device: str = "cpu", threads: int = 0):
        _package("openvino", path)
        core = openvino_core()
        settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads} if threads else {}
        if device.lower() == "cpu":
            settings["INFERENCE_PRECISION_HINT"] = "f32"  # else bfloat16 on processors that have it
        try:
            network = core.read_model(str(path))
            self.description = _rt_info(network)
            if path.suffix.lower() == ".onnx":  # files of OpenVINO are written so
                rewrite(network)
            self.network = core.compile_model(network, device.upper(), settings)
        except Exception as error:
            raise unreadable(path, error) from error
        self.inputs = {name for entry in self.network.inputs for name in entry.get_names()}

    def __call__(self, images: np.ndarray, image_sizes: np.ndarray) -> Arrays:
        feeds = {"images": images, "image_sizes": image_sizes}
        results = self.network({name: feeds[name] for name in feeds if name in self.inputs})
        return {output.get_any_name(): np.array(results[output]) for output in self.network.outputs}


def _rt_info(network: Any) -> str:
    """The description in a network of OpenVINO; of an ONNX file, OpenVINO keeps the metadata elsewhere."""
    for place in ([KEY], ["framework", KEY]):
        if network.has_rt_info(place):
            value = network.get_rt_info(place)
            return str(getattr(value, "value", value))
    return ""


SESSIONS: dict[str, Any] = {"onnxruntime": OnnxSession, "openvino": OpenVinoSession}
ENDINGS = {".onnx": "onnxruntime", ".xml": "openvino"}


def open_session(path: str | Path, *, runtime: str | None = None, device: str = "cpu", threads: int = 0) -> Session:
    """Load an exported file.

    Args:
        runtime: "onnxruntime" or "openvino", by default the one that the ending belongs to.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: its runtime is missing; the message has the command that installs it.
        ValueError: the file cannot be loaded; names it.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise FileNotFoundError(f"The exported model {path} does not exist.")
    chosen = runtime or ENDINGS.get(path.suffix.lower())
    if chosen not in SESSIONS:
        raise ValueError(
            f"{path} cannot be run{f' by {runtime!r}' if runtime else ''}: give a file that ends with "
            f"{' or '.join(ENDINGS)}, and a runtime of {', '.join(SESSIONS)}."
        )
    return SESSIONS[chosen](path, device=device, threads=threads)


def _package(name: str, path: object) -> Any:
    """The runtime of a file, imported when a file needs it.

    Raises:
        ImportError: it is not installed; the message has the command that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{path} needs {name}: pip install {name}", name=name) from error


def unreadable(path: object, error: Exception) -> ValueError:
    """The error of a file that a runtime does not load."""
    reason = " ".join(str(error).split())[:300]
    return ValueError(f"The exported model {path} cannot be loaded ({reason}); it may be damaged or no such file.")
