"""The loop, losses, augmentation, data, snapshots."""
