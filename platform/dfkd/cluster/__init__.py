"""Ray: the worker that trains a student, Ray Train and Ray Tune around it, and checkpoints.

``worker`` knows no Ray: it talks to a ``Session``. ``local_session`` runs it in the calling process,
``train_session`` on a Ray Train worker.
"""
