"""Every setting of every part, as frozen dataclasses of the standard library.

Nothing here imports torch or any other package, so that a mistake in a YAML file is found before anything heavy is
loaded. A part's settings are named after the part: ``dfkd.settings.synthesis`` belongs to ``dfkd.synthesis``.
"""
