"""Files: a model's state as safetensors."""
from fastnn.io.files import load, save

__all__ = ["load", "save"]
