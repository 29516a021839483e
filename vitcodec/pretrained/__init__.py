"""Weights: what is shipped, downloaded or trained, and how it becomes a model.

config: config.json as a typed object. presets: the models that can be trained. registry: finding and checking weights.
hub: downloading and uploading. loading: tensors to networks and back; it alone imports torch, so that `models list` and
error messages start at once.
"""
