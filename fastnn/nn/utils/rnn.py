"""Sequences of unequal length: packing, padding and back, under torch.nn.utils.rnn's names."""
from typing import NamedTuple

import numpy as np

from fastnn.core.tensor import Tensor, from_array
from fastnn.ops.joining import cat

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

    def to(self, *args, **kwargs):
        """The same with the data converted."""
        return type(self)(self.data.to(*args, **kwargs), *self[1:])

    def double(self):
        """The same in float64."""
        return self.to(np.float64)

    def float(self):
        """The same in float32."""
        return self.to(np.float32)


def invert_permutation(permutation):
    """The permutation that undoes one; None for None."""
    if permutation is None:
        return None
    order = permutation.array
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return from_array(inverse)


def _lengths(lengths):
    array = np.atleast_1d(np.asarray(lengths.array if isinstance(lengths, Tensor) else lengths))
    return array.astype(np.int64)


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
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
    lengths = _lengths(lengths)
    sorted_indices = None
    if not enforce_sorted:
        order = np.argsort(-lengths, kind="stable")
        lengths, sorted_indices = lengths[order], from_array(order)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    if batch_first:
        input = input.transpose(0, 1)
    if input.shape[0] == 0 or input.shape[1] == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if len(lengths) != input.shape[1]:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} (batch_size={input.shape[1]})")
    if lengths[-1] <= 0 or (lengths <= 0).any():
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0")
    if (np.diff(lengths) > 0).any():
        raise RuntimeError("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
                           "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if "
                           "you do not need ONNX exportability.")
    if lengths[0] > input.shape[0]:
        raise RuntimeError(f"Expected every length to be at most the sequence length {input.shape[0]}, got {lengths[0]}")
    sizes = (lengths[None, :] > np.arange(lengths[0])[:, None]).sum(1)
    rows = np.concatenate([t * input.shape[1] + np.arange(n) for t, n in enumerate(sizes)])
    flat = input.reshape(input.shape[0] * input.shape[1], *input.shape[2:])
    return PackedSequence(flat.index_select(0, from_array(rows)), from_array(sizes.astype(np.int64)), sorted_indices)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
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


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
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


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The list of sequences (L_i, ...) in a padded tensor."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [s[:int(n)] for s, n in zip(padded_sequences, _lengths(lengths))]


def pack_sequence(sequences, enforce_sorted=True):
    """Pack sequences (L_i, ...) of unequal length."""
    sequences = list(sequences)
    return pack_padded_sequence(pad_sequence(sequences), [len(s) for s in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The list of sequences in a PackedSequence."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
