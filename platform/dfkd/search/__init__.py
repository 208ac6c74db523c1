"""Search spaces, Optuna, and honest selection. Nothing here imports Ray, and only two modules import Optuna.

``space``         a file of ``search_spaces/`` -> checked settings; parameters -> an experiment
``corners``       one parameter: can its range be right?
``optuna_space``  distributions, sampler, and the study on disk
``selection``     which trial is the best, and when two are equal
``trust``         how far the choice without labels can be trusted, where labels exist to tell
"""
