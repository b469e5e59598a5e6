"""Detection, alignment, crops, pasting back."""
