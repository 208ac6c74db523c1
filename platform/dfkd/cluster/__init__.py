"""Ray: the worker that trains a student, Ray Train and Ray Tune around it, and checkpoints.

``worker`` knows no Ray: it talks to a ``Session``. ``local_session`` is that of a single worker in the calling process,
``parallel_session`` that of one of several, ``data_parallel`` starts these on Ray Train. ``trial`` is what Ray Tune
runs, ``tuner`` Ray Tune itself with ``searcher`` and ``early_stopping``, ``trial_events`` what the driver hears of it,
``resources`` what the cluster can give, ``pool`` many independent runs on it. ``preemption`` runs beside Ray on a spot
machine and drains it on the cloud's ``spot_notice``; ``agent_lock`` leaves one such agent a machine, the newest.
"""
