"""``torchsep separate``: files in, the sources of each out."""
