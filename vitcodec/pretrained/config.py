from .registry import PretrainedConfig as PretrainedConfig
