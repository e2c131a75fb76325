"""The filters of a first layer as a picture, by matplotlib: imported only when a picture is asked for."""
import math
from pathlib import Path


def check_target(target):
    """Raise before training what saving a picture would raise after it.

    Raises
    ------
    ImportError
        Without matplotlib (``pip install "fastnn-cpu[full]"``).
    ValueError
        If the ending of `target` names no format that matplotlib writes.
    FileNotFoundError
        If its folder does not exist.
    """
    target = Path(target)
    formats = _figure()(figsize=(1, 1)).canvas.get_supported_filetypes()
    if target.suffix[1:].lower() not in formats:
        raise ValueError(f"the ending of {str(target)!r} names no format of a picture; there are {', '.join(sorted(formats))}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no folder {str(target.parent)!r} to save {target.name} in")


def save_filters(weight, target):
    """Draw the filters side by side on one scale of colours: blue is negative, white zero, red positive.

    Parameters
    ----------
    weight : Tensor, shape (filters, channels, height, width)
        Of the channels, the mean is drawn.
    target : str or path
        File; its ending names the format.
    """
    filters = weight.detach().numpy().mean(1)
    across = math.ceil(math.sqrt(2 * len(filters)))
    down = math.ceil(len(filters) / across)
    figure = _figure()(figsize=(0.7 * across, 0.7 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    largest = float(abs(filters).max())
    for place in axes:
        place.set_axis_off()
    for place, one in zip(axes, filters):
        place.imshow(one, cmap="RdBu_r", vmin=-largest, vmax=largest)
    figure.savefig(target, dpi=150)


def _figure():
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures need the package matplotlib: pip install "fastnn-cpu[full]"') from error
    return Figure
