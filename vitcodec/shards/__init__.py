"""Tokens of many pictures in a few files, which load at once: WebDataset tars and safetensors."""
