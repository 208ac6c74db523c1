"""YAML -> settings: strict, typed, with "did you mean". The only place that knows pydantic; imports no torch.

``yaml_reader``  text -> plain values
``raw``          plain values: merging, dotted paths, ``--set``
``validation``   plain values -> settings (``type_hints``: the settings' shape; ``wording``: what messages say)
``experiment``   named schedules, and whole experiments
"""

from dfkd.config.experiment import apply_schedule, experiment_settings
from dfkd.config.raw import apply_overrides, look_up, merge, parse_override, set_path
from dfkd.config.validation import SettingsError, load_settings
from dfkd.config.yaml_reader import read_yaml
from dfkd.settings.identity import settings_key, to_dict

__all__ = [
    "SettingsError",
    "apply_overrides",
    "apply_schedule",
    "experiment_settings",
    "load_settings",
    "look_up",
    "merge",
    "parse_override",
    "read_yaml",
    "set_path",
    "settings_key",
    "to_dict",
]
