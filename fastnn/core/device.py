"""Devices by name: there is one, the CPU.  Programs ask for others before they settle for it."""
from __future__ import annotations

KINDS = ("cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla", "lazy", "vulkan", "mps",
         "meta", "hpu", "mtia", "privateuseone")


class device(str):
    """A device, by its name: "cpu", "cpu:0", or a type and an index.  Only a CPU can hold tensors; naming another is no error yet.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.device("cuda" if fastnn.cuda.is_available() else "cpu")
    device(type='cpu')
    """

    type: str
    index: int | None       # type: ignore[assignment]      # str's method of that name means nothing here

    def __new__(cls, type: str, index: int | None = None) -> device:
        kind, colon, number = str(type).partition(":")
        if kind not in KINDS:
            raise RuntimeError(f"Expected one of {', '.join(KINDS)} device type at start of device string: {kind}")
        if colon and (index is not None or not number.isdecimal()):
            raise RuntimeError(f"Invalid device string: '{type}'")
        index = int(number) if colon else index
        self = super().__new__(cls, kind if index is None else f"{kind}:{index}")
        self.type, self.index = kind, index
        return self

    def __repr__(self) -> str:
        return f"device(type={self.type!r})" if self.index is None else f"device(type={self.type!r}, index={self.index})"

    def __reduce__(self) -> tuple[object, ...]:
        return device, (str(self),)


class _Absent:
    """What programs ask of a kind of device to learn that there is none."""

    @staticmethod
    def is_available() -> bool:
        """Never."""
        return False

    @staticmethod
    def device_count() -> int:
        """None."""
        return 0


class mps(_Absent):
    """What programs ask of `mps`; seeds and the like are accepted."""

    @staticmethod
    def manual_seed(seed: int) -> None:
        """Seed nothing."""

    @staticmethod
    def empty_cache() -> None:
        """Free nothing."""

    @staticmethod
    def synchronize() -> None:
        """Wait for nothing."""


class accelerator(_Absent):
    """What programs ask of `accelerator`."""

    @staticmethod
    def current_accelerator(check_available: bool = False) -> device | None:
        """None."""
        return None
