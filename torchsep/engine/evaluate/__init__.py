"""``torchsep evaluate``: separators scored on data sets with known sources."""
