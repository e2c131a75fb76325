"""Parameter: the tensors a Module trains."""
from fastnn.core.tensor import Parameter

__all__ = ["Parameter"]
