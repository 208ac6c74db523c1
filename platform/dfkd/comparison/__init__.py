"""Methods side by side, at equal cost. Reads and judges results; running them is the business of ``jobs.compare``.

``cost``         multiply-accumulates of a run's parts, counted by running them; or their seconds
``budget``       a row's settings, scaled until a run costs what the budget allows
``results``      one JSON file a run, and which comparison a folder belongs to
``statistics``   intervals, paired differences, Holm's correction, the effect that could have been seen
``leaderboard``  results -> rows with intervals and differences
``efficiency``   what a run had cost when its student was good enough
``tables``       a leaderboard as Markdown tables, of ``cells``
``sentences``    what is said beside them: how to read them, what went wrong, what they show of a claim
``table_file``   a leaderboard as Parquet
``plots``        a leaderboard as interactive plots; synthetic images side by side
"""
