"""Sequences of unequal length: packing, padding and back, under torch.nn.utils.rnn's names."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn.core.tensor import Tensor, from_array
from fastnn.ops.joining import cat

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence", "pad_sequence",
           "unpack_sequence", "unpad_sequence"]


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """The rows of all sequences, step after step: step t has batch_sizes[t] rows, longest sequences first."""

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with the data converted."""
        return type(self)(self.data.to(*args, **kwargs), *self[1:])

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(np.float64)

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(np.float32)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes one; None for None."""
    if permutation is None:
        return None
    order = permutation.array
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return from_array(inverse)


def _lengths(lengths: Any) -> Any:
    array = np.atleast_1d(np.asarray(lengths.array if isinstance(lengths, Tensor) else lengths))
    return array.astype(np.int64)


def pack_padded_sequence(input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False,
                         enforce_sorted: bool = True) -> PackedSequence:
    """Pack padded sequences (T, N, ...) of the given lengths.

    Parameters
    ----------
    input : Tensor, shape (T, N, ...), or (N, T, ...) with batch_first
    lengths : sequence of int
    batch_first : bool, default False
    enforce_sorted : bool, default True
        The lengths are already decreasing; with False they are sorted here and the order is remembered.

    Raises
    ------
    RuntimeError
        For lengths that are not decreasing (enforce_sorted), zero or longer than the input.
    """
    counts = _lengths(lengths)
    batch = input.shape[0 if batch_first else 1]
    if len(counts) != batch:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} (batch_size={batch})")
    sorted_indices = None
    if not enforce_sorted:
        order = np.argsort(-counts, kind="stable")
        counts, sorted_indices = counts[order], from_array(order)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    if batch_first:
        input = input.transpose(0, 1)
    if input.shape[0] == 0 or input.shape[1] == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if counts[-1] <= 0 or (counts <= 0).any():
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0")
    if (np.diff(counts) > 0).any():
        raise RuntimeError("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
                           "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if "
                           "you do not need ONNX exportability.")
    if counts[0] > input.shape[0]:
        raise RuntimeError(f"Expected every length to be at most the sequence length {input.shape[0]}, got {counts[0]}")
    sizes = (counts[None, :] > np.arange(counts[0])[:, None]).sum(1)
    rows = np.concatenate([t * input.shape[1] + np.arange(n) for t, n in enumerate(sizes)])
    flat = input.reshape(input.shape[0] * input.shape[1], *input.shape[2:])
    return PackedSequence(flat.index_select(0, from_array(rows)), from_array(sizes.astype(np.int64)), sorted_indices)


def pad_packed_sequence(sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
                        total_length: int | None = None) -> tuple[Tensor, Tensor]:
    """Undo `pack_padded_sequence`; returns the padded tensor and the lengths."""
    sizes = sequence.batch_sizes.array
    steps, batch = len(sizes), int(sizes[0])
    if total_length is not None:
        if total_length < steps:
            raise ValueError("Expected total_length to be at least the length of the longest sequence in input, but got "
                             f"total_length={total_length} and max sequence length being {steps}")
        steps = total_length
    rows = np.concatenate([t * batch + np.arange(n) for t, n in enumerate(sizes)])
    shape = (steps * batch, *sequence.data.shape[1:])
    padded = from_array(np.full(shape, padding_value, sequence.data.dtype)).index_copy(0, from_array(rows), sequence.data)
    padded = padded.reshape(steps, batch, *sequence.data.shape[1:])
    lengths = (sizes[:, None] > np.arange(batch)[None, :]).sum(0)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.array]
    return (padded.transpose(0, 1) if batch_first else padded), from_array(lengths.astype(np.int64))


def pad_sequence(sequences: Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0,
                 padding_side: str = "right") -> Tensor:
    """Stack sequences (L_i, ...) of unequal length, padded to the longest."""
    if padding_side not in ("left", "right"):
        raise ValueError(f"padding_side should be 'left' or 'right', got {padding_side!r}")
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    longest = max(len(s) for s in sequences)
    padded = []
    for s in sequences:
        fill = from_array(np.full((longest - len(s), *s.shape[1:]), padding_value, s.dtype))
        parts = [s, fill] if padding_side == "right" else [fill, s]
        padded.append(cat(parts, 0).unsqueeze(0 if batch_first else 1))
    return cat(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The list of sequences (L_i, ...) in a padded tensor."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [s[:int(n)] for s, n in zip(padded_sequences, _lengths(lengths))]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L_i, ...) of unequal length."""
    sequences = list(sequences)
    return pack_padded_sequence(pad_sequence(sequences), [len(s) for s in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The list of sequences in a PackedSequence."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
