"""``torchsep export``: released models with their cards, and networks as graphs."""
