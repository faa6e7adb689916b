"""``torchsep train``: from a configuration to a checkpoint."""
