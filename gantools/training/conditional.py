"""Losses of conditional training: AC-GAN's labels (S1.11), GAN-CLS's matching (S1.28)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def label_loss(class_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of D's K extra logits, mean over the batch (AC-GAN, S1.11); 0 for K = 0.

    class_logits and labels (one-hot or shares) are [N, K].
    """
    return -(labels * F.log_softmax(class_logits, dim=1)).sum(dim=1).mean()


def acgan_discriminator_loss(
    real_class_logits: Tensor, real_labels: Tensor, fake_class_logits: Tensor, fake_labels: Tensor
) -> Tensor:
    """What labels add to D's loss: those of reals and of fakes, weight 1 each (S1.11); all [N, K].

    The generator's own share is `label_loss` of its fakes.
    """
    return label_loss(real_class_logits, real_labels) + label_loss(fake_class_logits, fake_labels)


def cls_discriminator_loss(
    real_logits: Tensor, mismatched_logits: Tensor, fake_logits: Tensor
) -> Tensor:
    """-(log s_r + (log(1 - s_w) + log(1 - s_f)) / 2), s = sigmoid(logits) (GAN-CLS, S1.28).

    The logits [N,1] are of real pictures with their own condition, of real pictures with another
    one's, and of fakes with the condition they were made for. This is what is minimised: the
    paper's figure has a descent on its negative, which would be an ascent. The generator's loss is
    `losses.generator_loss`.
    """
    wrong = F.softplus(mismatched_logits).mean() + F.softplus(fake_logits).mean()
    return F.softplus(-real_logits).mean() + wrong / 2
